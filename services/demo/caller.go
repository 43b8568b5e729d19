package demo

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const maxAnswer = 8 << 20 // bytes

// Server is a running Cairn, as demo clients reach it.
type Server struct {
	HTTP string                      // base URL of REST
	GRPC func(service string) string // address of a service
	Dir  string                      // with the demo clients' keys
	TLS  *tls.Config                 // nil: plaintext
}

func (s Server) http() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: s.TLS}, Timeout: time.Minute}
}

// Token gets an access token for a demo client: SMART Backend Services, as a hospital does it.
func (s Server) Token(ctx context.Context, client string) (string, error) {
	key, err := privateKey(s.Dir, client)
	if err != nil {
		return "", err
	}
	endpoint, err := s.tokenEndpoint(ctx)
	if err != nil {
		return "", err
	}
	assertion, err := sign(key, client, endpoint)
	if err != nil {
		return "", err
	}
	form := url.Values{
		"grant_type":            {"client_credentials"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {assertion},
		"scope":                 {strings.Join(scopes[client], " ")},
	}
	var answer struct {
		AccessToken      string `json:"access_token"`
		Error            string `json:"error"`
		ErrorDescription string `json:"error_description"`
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.HTTP+"/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", fmt.Errorf("token of %s: %w", client, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if err := s.do(req, &answer); err != nil {
		return "", fmt.Errorf("token of %s: %w", client, err)
	}
	if answer.Error == "invalid_client" {
		return "", fmt.Errorf("token of %s: %s: is %s the demo directory of the Cairn at %s?", client, answer.ErrorDescription, s.Dir, s.HTTP)
	}
	if answer.AccessToken == "" {
		return "", fmt.Errorf("token of %s: %s: %s", client, answer.Error, answer.ErrorDescription)
	}
	return answer.AccessToken, nil
}

// tokenSource keeps a client's token and gets a new one before it ends.
type tokenSource struct {
	server Server
	client string

	mu    sync.Mutex
	token string
	until time.Time
}

func (t *tokenSource) get(ctx context.Context) (string, error) {
	const life = 4 * time.Minute // of the five that tokens live
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Now().Before(t.until) {
		return t.token, nil
	}
	token, err := t.server.Token(ctx, t.client)
	if err != nil {
		return "", err
	}
	t.token, t.until = token, time.Now().Add(life)
	return token, nil
}

// tokenEndpoint asks the server for its token endpoint, as SMART clients do.
func (s Server) tokenEndpoint(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.HTTP+"/.well-known/smart-configuration", nil)
	if err != nil {
		return "", fmt.Errorf("smart-configuration: %w", err)
	}
	var smart struct {
		TokenEndpoint string `json:"token_endpoint"`
	}
	if err := s.do(req, &smart); err != nil {
		return "", fmt.Errorf("is Cairn running at %s? %w", s.HTTP, err)
	}
	return smart.TokenEndpoint, nil
}

// sign returns a client assertion (RFC 7523) that is good for a minute.
func sign(key jose.JSONWebKey, client, endpoint string) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES384, Key: key.Key.(*ecdsa.PrivateKey)},
		(&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", key.KeyID))
	if err != nil {
		return "", fmt.Errorf("sign for %s: %w", client, err)
	}
	now := time.Now()
	return jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: client, Subject: client, Audience: jwt.Audience{endpoint}, ID: uuid.NewString(),
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(time.Minute)),
	}).Serialize()
}

// do sends the request and reads a JSON answer of any status.
func (s Server) do(req *http.Request, answer any) error {
	client := s.http()
	defer client.CloseIdleConnections()
	resp, err := client.Do(req) //nolint:gosec // the address is the operator's own Cairn
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end below
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, answer); err != nil {
		return fmt.Errorf("%s answered %s with something else than JSON", req.URL, resp.Status)
	}
	return nil
}

// Caller speaks REST for one client.
type Caller struct {
	baseURL, token string
	http           *http.Client
}

// Caller gets a token for a demo client and returns what calls with it.
func (s Server) Caller(ctx context.Context, client string) (*Caller, error) {
	token, err := s.Token(ctx, client)
	return &Caller{baseURL: s.HTTP, token: token, http: s.http()}, err
}

// Call sends body, if there is one, and reads the answer into out.
func (c *Caller) Call(ctx context.Context, method, path string, body, out proto.Message) error {
	var content io.Reader
	if body != nil {
		b, err := protojson.Marshal(body)
		if err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.baseURL+path, content)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if method != http.MethodGet {
		req.Header.Set("Idempotency-Key", uuid.NewString())
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end below
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, b)
	}
	if err := protojson.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}
