package partners

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
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
	s.log.InfoContext(ctx, "token refused", "error", refused.Code, "why", refused.Description)
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

// authenticateClient finds the client that the assertion names and checks the assertion
// against its keys.
func (s *tokenServer) authenticateClient(ctx context.Context, a *smart.Assertion) (*tokenClientRow, error) {
	if strings.ContainsRune(a.ClientID, 0) { // PostgreSQL cannot even look for it
		return nil, unknownClient()
	}
	client, err := selectTokenClient(ctx, s.db, a.ClientID)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("get client: %w", err)
	}
	if err != nil || client.Disabled {
		return nil, unknownClient()
	}
	uri := ""
	if client.JWKSURI != nil {
		uri = *client.JWKSURI
	}
	if err := a.CheckKeySetURL(uri); err != nil {
		return nil, err
	}
	key, err := s.clientKeys.pick(ctx, client, a.KeyID, a.Algorithm)
	if err != nil {
		s.log.InfoContext(ctx, "no key for client", "client", client.ID, "err", err)
		return nil, keyRefusal(err)
	}
	if err := a.Verify(key); err != nil {
		return nil, err
	}
	return client, a.CheckClaims(s.url+TokenPath, s.clock.Now())
}

func unknownClient() error {
	return smart.Refuse(smart.InvalidClient, "iss of client_assertion is no registered client, or one that is disabled")
}
