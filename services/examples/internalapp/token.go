package main

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"
)

const (
	assertionLife = time.Minute
	early         = 30 * time.Second // before its end, a token is replaced
	maxAnswer     = 64 << 10         // bytes
)

// tokens gives every call a token, a new one shortly before the old one ends. It is
// grpc's credentials.PerRPCCredentials.
type tokens struct {
	base   string // URL of the HTTP listener
	client string // client id
	scopes string // with spaces between them
	key    jose.JSONWebKey

	mu    sync.Mutex
	token string
	until time.Time
}

// newTokens reads the client's private key, an EC P-384 key as a JWK.
func newTokens(base, client, keyFile, scopes string) (*tokens, error) {
	raw, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	t := &tokens{base: base, client: client, scopes: scopes}
	if err := json.Unmarshal(raw, &t.key); err != nil {
		return nil, fmt.Errorf("%s: %w", keyFile, err)
	}
	if _, ok := t.key.Key.(*ecdsa.PrivateKey); !ok {
		return nil, fmt.Errorf("%s holds no private EC key", keyFile)
	}
	return t, nil
}

// GetRequestMetadata returns the header of one call.
func (t *tokens) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Until(t.until) < early {
		if err := t.fetch(ctx); err != nil {
			return nil, fmt.Errorf("token of %s: %w", t.client, err)
		}
	}
	return map[string]string{"authorization": "Bearer " + t.token}, nil
}

// RequireTransportSecurity allows plaintext, for a Cairn on this machine.
func (t *tokens) RequireTransportSecurity() bool { return false }

func (t *tokens) fetch(ctx context.Context) error {
	var smart struct {
		TokenEndpoint string `json:"token_endpoint"`
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.base+"/.well-known/smart-configuration", nil)
	if err != nil {
		return err
	}
	if err := read(req, &smart); err != nil {
		return err
	}
	assertion, err := t.assertion(smart.TokenEndpoint)
	if err != nil {
		return err
	}
	form := url.Values{
		"grant_type":            {"client_credentials"},
		"scope":                 {t.scopes},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {assertion},
	}
	req, err = http.NewRequestWithContext(ctx, http.MethodPost, smart.TokenEndpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"` // seconds
	}
	if err := read(req, &answer); err != nil {
		return err
	}
	t.token, t.until = answer.AccessToken, time.Now().Add(time.Duration(answer.ExpiresIn)*time.Second)
	return nil
}

// assertion says who the client is (RFC 7523), signed with its key.
func (t *tokens) assertion(audience string) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES384, Key: t.key.Key},
		(&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", t.key.KeyID))
	if err != nil {
		return "", err
	}
	return jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: t.client, Subject: t.client, Audience: jwt.Audience{audience},
		Expiry: jwt.NewNumericDate(time.Now().Add(assertionLife)), ID: uuid.NewString(),
	}).Serialize()
}

// read sends the request and reads a JSON answer.
func read(req *http.Request, answer any) error {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end below
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s: %s", req.URL, resp.Status, body)
	}
	return json.Unmarshal(body, answer)
}
