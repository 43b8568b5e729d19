package partners

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/internal/pgtest"
	"cairn.care/services/internal/suitetest"
	"cairn.care/services/partners/smart"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

const tokenURL = "http://cairn.test" + TokenPath

// suite is the running service and its clients.
type suite struct {
	*suitetest.Suite
	partnersv1.PartnersServiceClient
	tokens partnersv1.TokenServiceClient
}

// setup starts the service, which trusts roots where clients publish their keys.
func setup(t *testing.T, roots *x509.CertPool, options ...suitetest.Option) *suite {
	t.Helper()
	return start(t, []chassis.Component{component(roots)}, options...)
}

// setupWith starts the service beside others.
func setupWith(t testing.TB, others ...chassis.Component) *suite {
	t.Helper()
	return start(t, append(others, component(nil)))
}

func start(t testing.TB, components []chassis.Component, options ...suitetest.Option) *suite {
	t.Helper()
	s := suitetest.Start(t, components, options...)
	conn := s.Conn(Name)
	return &suite{Suite: s, PartnersServiceClient: partnersv1.NewPartnersServiceClient(conn), tokens: partnersv1.NewTokenServiceClient(conn)}
}

// platform calls as an internal app that may do everything here.
func platform(t *testing.T) context.Context {
	return suitetest.Platform(t.Context(), "partners.read", "partners.write")
}

// organization registers one.
func (s *suite) organization(t *testing.T, kind partnersv1.Organization_Kind) *partnersv1.Organization {
	t.Helper()
	o, err := s.CreateOrganization(platform(t), &partnersv1.CreateOrganizationRequest{Organization: &partnersv1.Organization{Kind: kind, DisplayName: "St. Anna"}})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// credentials are a client's key pair and id.
type credentials struct {
	id, kid string
	key     *ecdsa.PrivateKey
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// keySet is a JWK Set with the keys as JSON.
func keySet(t testing.TB, keys ...jose.JSONWebKey) []byte {
	t.Helper()
	doc, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func inline(t testing.TB, keys ...jose.JSONWebKey) *partnersv1.ApiClient_Jwks {
	t.Helper()
	set := new(structpb.Struct)
	if err := protojson.Unmarshal(keySet(t, keys...), set); err != nil {
		t.Fatal(err)
	}
	return &partnersv1.ApiClient_Jwks{Jwks: set}
}

// client registers a client of the organization with one key.
func (s *suite) client(t *testing.T, o *partnersv1.Organization, id string, scopes ...string) *credentials {
	t.Helper()
	c := &credentials{id: id, kid: "k1", key: newKey(t)}
	_, err := s.CreateApiClient(platform(t), &partnersv1.CreateApiClientRequest{ApiClientId: id, ApiClient: &partnersv1.ApiClient{
		Organization: o.GetName(), DisplayName: "EHR", Scopes: scopes, Keys: inline(t, jose.JSONWebKey{Key: c.key.Public(), KeyID: c.kid}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// assertion is a good one but for what change does to it.
func (c *credentials) assertion(t testing.TB, now time.Time, header map[jose.HeaderKey]any, change func(*jwt.Claims)) string {
	t.Helper()
	opts := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", c.kid)
	for k, v := range header {
		opts.WithHeader(k, v)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES384, Key: c.key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	claims := jwt.Claims{Issuer: c.id, Subject: c.id, Audience: jwt.Audience{tokenURL}, ID: uuid.NewString(), Expiry: jwt.NewNumericDate(now.Add(time.Minute))}
	if change != nil {
		change(&claims)
	}
	a, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func request(assertion, scope string) *partnersv1.IssueTokenRequest {
	return &partnersv1.IssueTokenRequest{GrantType: smart.GrantType, ClientAssertionType: smart.AssertionType, ClientAssertion: assertion, Scope: scope}
}

// token gets a token for the scope.
func (s *suite) token(t *testing.T, c *credentials, scope string) string {
	t.Helper()
	resp, err := s.tokens.IssueToken(t.Context(), request(c.assertion(t, s.Clock.Now(), nil, nil), scope))
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetAccessToken()
}

// reason returns the code and the machine reason of an error.
func reason(err error) (codes.Code, string) {
	for _, d := range status.Convert(err).Details() {
		if i, ok := d.(*errdetails.ErrorInfo); ok {
			return status.Code(err), i.GetReason()
		}
	}
	return status.Code(err), ""
}

// field returns the first field that an error complains about.
func field(err error) string {
	for _, d := range status.Convert(err).Details() {
		if b, ok := d.(*errdetails.BadRequest); ok {
			return b.GetFieldViolations()[0].GetField()
		}
	}
	return ""
}
