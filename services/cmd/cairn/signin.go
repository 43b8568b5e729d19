package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"cairn.care/services/demo"
)

const (
	maxAnswer = 16 << 20        // bytes
	tokenLife = 4 * time.Minute // of the five that tokens live
)

// account is who calls which Cairn: a demo client of the one on this machine, or a partner's registered client with its key.
type account struct {
	server   string // base URL; empty: of the configuration
	demo     string // demo client
	clientID string // registered client
	key      string // file with its private JWK
	scopes   string // that are asked for, separated by spaces

	config func() (demo.Server, error)
	http   *http.Client
	token  string
	until  time.Time
}

// accountFlags declares the flags of a command that calls a Cairn.
func accountFlags(cmd *cobra.Command, demoClient, scopes string) *account {
	a := &account{scopes: scopes, http: &http.Client{}}
	a.config = func() (demo.Server, error) {
		config, err := loadConfig(cmd)
		if err != nil {
			return demo.Server{}, err
		}
		return demo.Server{HTTP: "http://" + config.HTTP, Dir: config.Path("demo")}, nil
	}
	f := cmd.Flags()
	f.StringVar(&a.server, "server", "", "URL of the Cairn to call (default: the one at --http)")
	f.StringVar(&a.clientID, "client-id", "", "your registered client, apiClients/… or its id")
	f.StringVar(&a.key, "key", "", "file with the private key of --client-id, a JWK (ES384 or RS384)")
	f.StringVar(&a.demo, "client", demoClient, "a demo client, where there are some: demo-hospital, demo-nonprofit or demo-app")
	return a
}

// open completes what the flags say.
func (a *account) open() error {
	if (a.clientID == "") != (a.key == "") {
		return fmt.Errorf("--client-id and --key go together")
	}
	if a.clientID == "" && a.demo == "" {
		return fmt.Errorf("say who calls: --client for a demo client, or --client-id with --key")
	}
	s, err := a.config()
	if err != nil {
		return err
	}
	if a.server == "" {
		a.server = s.HTTP
	}
	a.server = strings.TrimSuffix(a.server, "/")
	a.clientID = strings.TrimPrefix(a.clientID, "apiClients/")
	return nil
}

// bearer returns a token that is still good for a while.
func (a *account) bearer(ctx context.Context) (string, error) {
	if time.Now().Before(a.until) {
		return a.token, nil
	}
	s, err := a.config()
	if err != nil {
		return "", err
	}
	s.HTTP = a.server
	if a.clientID == "" {
		a.token, err = s.Token(ctx, a.demo)
	} else {
		a.token, err = a.sign(ctx)
	}
	if err == nil {
		a.until = time.Now().Add(tokenLife)
	}
	return a.token, err
}

// sign gets a token for a registered client: SMART Backend Services.
func (a *account) sign(ctx context.Context) (string, error) {
	b, err := os.ReadFile(a.key)
	if err != nil {
		return "", fmt.Errorf("--key: %w", err)
	}
	var key jose.JSONWebKey
	if err := json.Unmarshal(b, &key); err != nil || key.IsPublic() {
		return "", fmt.Errorf("--key: %s holds no private JWK", a.key)
	}
	var algorithm jose.SignatureAlgorithm
	switch key.Key.(type) {
	case *ecdsa.PrivateKey:
		algorithm = jose.ES384
	case *rsa.PrivateKey:
		algorithm = jose.RS384
	default:
		return "", fmt.Errorf("--key: want a key for ES384 or RS384")
	}
	var smart struct {
		TokenEndpoint string `json:"token_endpoint"`
	}
	if err := a.getJSON(ctx, a.server+"/.well-known/smart-configuration", &smart); err != nil {
		return "", fmt.Errorf("is Cairn running at %s? %w", a.server, err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", fmt.Errorf("--key: %w", err)
	}
	now := time.Now()
	assertion, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: a.clientID, Subject: a.clientID, Audience: jwt.Audience{smart.TokenEndpoint}, ID: uuid.NewString(),
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(time.Minute)),
	}).Serialize()
	if err != nil {
		return "", fmt.Errorf("--key: %w", err)
	}
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion": {assertion}, "scope": {a.scopes},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, smart.TokenEndpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var answer struct {
		AccessToken string `json:"access_token"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := a.send(req, func(_ int, body io.Reader) error { return json.NewDecoder(body).Decode(&answer) }); err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	if answer.AccessToken == "" {
		return "", fmt.Errorf("token of %s: %s: %s", a.clientID, answer.Error, answer.Description)
	}
	return answer.AccessToken, nil
}

func (a *account) getJSON(ctx context.Context, address string, out any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	return a.send(req, func(_ int, body io.Reader) error { return json.NewDecoder(body).Decode(out) })
}

// send sends a request and has the answer read.
func (a *account) send(req *http.Request, read func(code int, body io.Reader) error) error {
	resp, err := a.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // nothing is written
	return read(resp.StatusCode, io.LimitReader(resp.Body, maxAnswer))
}

// refusal is an error answer of the API.
type refusal struct {
	code    int
	message string
}

func (r *refusal) Error() string { return r.message }

// call calls the API; body is a message, an io.Reader or nil.
func (a *account) call(ctx context.Context, method, path string, body any, out proto.Message) error {
	token, err := a.bearer(ctx)
	if err != nil {
		return err
	}
	var content io.Reader
	kind := ""
	switch b := body.(type) {
	case proto.Message:
		text, err := protojson.Marshal(b)
		if err != nil {
			return err
		}
		content, kind = bytes.NewReader(text), "application/json"
	case io.Reader:
		content, kind = b, "application/octet-stream"
	}
	req, err := http.NewRequestWithContext(ctx, method, a.server+path, content)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if method != http.MethodGet {
		req.Header.Set("Idempotency-Key", uuid.NewString())
	}
	return a.send(req, func(code int, body io.Reader) error {
		text, err := io.ReadAll(body)
		if err != nil {
			return err
		}
		if code != http.StatusOK {
			return refused(code, text)
		}
		if out == nil {
			return nil
		}
		return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(text, out)
	})
}

// refused reads what the API says of why it refuses.
func refused(code int, text []byte) error {
	var answer struct {
		Message string `json:"message"`
		Details []struct {
			FieldViolations []struct{ Field, Description string } `json:"fieldViolations"`
		} `json:"details"`
	}
	if json.Unmarshal(text, &answer) != nil || answer.Message == "" {
		return &refusal{code, fmt.Sprintf("the server answers %d: %s", code, bytes.TrimSpace(text[:min(len(text), 300)]))}
	}
	return &refusal{code, answer.Message}
}
