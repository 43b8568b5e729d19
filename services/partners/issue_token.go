package partners

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/partners/smart"
)

// accessToken are the claims of an access token (RFC 9068 §2.2) and three of our own.
type accessToken struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	ClientID string `json:"client_id"`
	Audience string `json:"aud"`
	Expiry   int64  `json:"exp"` // Unix seconds
	IssuedAt int64  `json:"iat"` // Unix seconds
	ID       string `json:"jti"`
	Scope    string `json:"scope"`
	Org      string `json:"org"`                // "organizations/<uuid>"
	Platform bool   `json:"platform,omitempty"` // of the platform organization
	Profile  string `json:"fhir_profile"`       // as ApiClient.FhirProfile names it
}

// IssueToken issues an access token for a client's assertion.
func (s *tokenServer) IssueToken(ctx context.Context, req *partnersv1.IssueTokenRequest) (*partnersv1.IssueTokenResponse, error) {
	resp, err := s.issueToken(auth.System(ctx, Name), req)
	refused, ok := errors.AsType[*smart.Error](err)
	if !ok {
		return resp, err
	}
	if refused.Description != unproven { // which has been told with its reason
		s.log.InfoContext(ctx, "token refused", "error", refused.Code, "why", refused.Description)
	}
	code := codes.InvalidArgument
	if refused.Code == smart.InvalidClient {
		code = codes.Unauthenticated
	}
	return nil, &fault.Error{
		Code: code, Reason: strings.ToUpper(string(refused.Code)), Message: refused.Description,
		Metadata: map[string]string{"error": string(refused.Code)},
	}
}

func (s *tokenServer) issueToken(ctx context.Context, req *partnersv1.IssueTokenRequest) (*partnersv1.IssueTokenResponse, error) {
	if err := smart.CheckGrant(req.GetGrantType(), req.GetClientAssertionType()); err != nil {
		return nil, err
	}
	a, err := smart.Parse(req.GetClientAssertion())
	if err != nil {
		return nil, err
	}
	if req.GetClientId() != "" && req.GetClientId() != a.ClientID {
		return nil, smart.Refuse(smart.InvalidClient, "client_id is not the client that client_assertion is of")
	}
	client, err := s.authenticateClient(ctx, a)
	if err != nil {
		return nil, err
	}
	if err := s.countToken(ctx, client.ID); err != nil {
		return nil, err
	}
	scopes, err := smart.Scopes(req.GetScope(), client.Scopes)
	if err != nil {
		return nil, err
	}
	now := s.clock.Now()
	jti := sha256.Sum256([]byte(a.ID))
	first, key, err := useAssertion(ctx, s.db, client.ID, jti[:], a.Expiry, now)
	if err != nil {
		return nil, fmt.Errorf("remember assertion: %w", err)
	}
	if !first {
		return nil, smart.Refuse(smart.InvalidClient, "jti of client_assertion was used before: make a new assertion for every request")
	}
	scope := strings.Join(scopes, " ")
	token, err := s.signer.sign(s.crypt.AEAD(), key, accessToken{
		Issuer: s.url, Subject: client.ID, ClientID: client.ID, Audience: s.url,
		IssuedAt: now.Unix(), Expiry: now.Add(tokenLife).Unix(), ID: aip.NewID().String(), Scope: scope,
		Org: aip.Name(organizations, client.OrgID), Platform: client.Platform, Profile: client.FHIRProfile,
	})
	if err != nil {
		return nil, err
	}
	return &partnersv1.IssueTokenResponse{AccessToken: token, TokenType: "bearer", ExpiresIn: int32(tokenLife.Seconds()), Scope: scope}, nil
}

// countToken refuses a token to a client that asks for too many; it is known by then, so that nobody else can use up what is its own.
func (s *tokenServer) countToken(ctx context.Context, client string) error {
	left := s.issued.Take(client)
	if md := left.Metadata(); md != nil {
		if err := grpc.SetHeader(ctx, md); err != nil {
			return fmt.Errorf("say how many tokens are left: %w", err)
		}
	}
	return left.Err()
}

// authenticateClient finds the client that the assertion names and checks the assertion against its keys. Whoever has no key of
// a client's gets one answer, whether the client is there or not, after about the same work; the log says why.
func (s *tokenServer) authenticateClient(ctx context.Context, a *smart.Assertion) (*tokenClientRow, error) {
	if err := a.CheckClaims(s.url+TokenPath, s.clock.Now()); err != nil { // says nothing of who is registered
		return nil, err
	}
	client, err := s.tokenClient(ctx, a)
	if err != nil {
		return nil, err
	}
	key, why := s.keyOf(ctx, client, a)
	if why == nil {
		if why = a.Verify(key); why == nil {
			return client, nil
		}
	} else if a.Verify(s.decoy.of(a.Algorithm)) == nil {
		return nil, errors.New("an assertion verifies under a key that nobody has")
	}
	s.log.InfoContext(ctx, "assertion proves no client", "client", clip(a.ClientID), "why", why, "request_id", chassis.RequestID(ctx))
	return nil, smart.Refuse(smart.InvalidClient, "%s", unproven)
}

// unproven is the one answer to whoever has no key of a client's.
const unproven = "client_assertion does not prove that it comes from a registered client. Its iss must be the client id, " +
	"its kid that of one key which is registered or stands at the registered jwks_uri, its signature must verify under that key, jku may only be the registered jwks_uri, " +
	"and the client must not be disabled. Which of these fails is in the log, under the id of this request"

// tokenClient finds the client that the assertion names, nil if there is none.
func (s *tokenServer) tokenClient(ctx context.Context, a *smart.Assertion) (*tokenClientRow, error) {
	if strings.ContainsRune(a.ClientID, 0) { // PostgreSQL cannot even look for it
		return nil, nil
	}
	client, err := selectTokenClient(ctx, s.db, a.ClientID)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("get client: %w", err)
	}
	return client, nil
}

// keyOf returns the key of the client by which the assertion says that it is signed, or why there is none.
func (s *tokenServer) keyOf(ctx context.Context, client *tokenClientRow, a *smart.Assertion) (*jose.JSONWebKey, error) {
	switch {
	case client == nil:
		return nil, errors.New("no such client")
	case client.Disabled:
		return nil, errors.New("it is disabled")
	}
	uri := ""
	if client.JWKSURI != nil {
		uri = *client.JWKSURI
	}
	if err := a.CheckKeySetURL(uri); err != nil {
		return nil, err
	}
	return s.clientKeys.pick(ctx, client, a.KeyID, a.Algorithm)
}

// decoy are keys that nobody has, under which an assertion is checked when there is no key of a client's: so that the time does not tell.
type decoy struct {
	ec  *ecdsa.PublicKey
	rsa *rsa.PublicKey
}

func newDecoy() (*decoy, error) {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make decoy: %w", err)
	}
	modulus := make([]byte, 256)
	rand.Read(modulus) // never fails (Go 1.24)
	modulus[0], modulus[255] = modulus[0]|0x80, modulus[255]|1
	return &decoy{ec: &key.PublicKey, rsa: &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: 65537}}, nil
}

func (d *decoy) of(alg jose.SignatureAlgorithm) *jose.JSONWebKey {
	if alg == jose.RS384 {
		return &jose.JSONWebKey{Key: d.rsa}
	}
	return &jose.JSONWebKey{Key: d.ec}
}

func clip(s string) string {
	if len(s) > 63 { // no client id is longer
		s = s[:63]
	}
	return strings.ToValidUTF8(s, "?")
}
