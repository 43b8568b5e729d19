package auth

import (
	"container/list"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json" // case-sensitive, refuses a name that comes twice
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"

	policyv1 "cairn.care/gen/cairn/policy/v1"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/jwks"
)

const (
	maxToken   = 16 << 10         // bytes of a bearer token
	tokenSkew  = 30 * time.Second // how far an issuer's clock may be ahead of ours
	tokenCache = 10_000           // verified tokens remembered
	tokenKept  = 5 * time.Minute  // for which one is remembered, so that a key its issuer withdraws ends its tokens too
)

// KeySource finds the one key of an issuer with a kid that suits an algorithm:
// jwks.ErrNoKey and jwks.ErrAmbiguous mean that there is none, any other error that the
// keys are out of reach.
type KeySource interface {
	Pick(ctx context.Context, kid string, alg jose.SignatureAlgorithm) (*jose.JSONWebKey, error)
}

// Issuer is a token issuer that Cairn trusts. Without claim names it is the built-in one,
// whose tokens are those of clients; with them its tokens are those of people.
type Issuer struct {
	URL      string // iss, exactly
	Audience string // must be in aud
	Keys     KeySource

	OrganizationClaim string // claim with "organizations/<uuid>", such as "org"
	RolesClaim        string // claim with roles, such as "roles": a list, or words in one string
	MemberClaim       string // claim with "members/<uuid>", who a MEMBER is; "": the issuer has no members
	FacilitatorClaim  string // claim with "facilitators/<uuid>", who a FACILITATOR is; "": it has no facilitators
}

// Algorithms by which the two kinds of issuer may sign: never none, never a shared secret.
var (
	clientAlgorithms = []jose.SignatureAlgorithm{jose.ES256}
	personAlgorithms = []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.ES512, jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.EdDSA}
)

func (i *Issuer) ofPersons() bool { return i.OrganizationClaim != "" || i.RolesClaim != "" }

func (i *Issuer) algorithms() []jose.SignatureAlgorithm {
	if i.ofPersons() {
		return personAlgorithms
	}
	return clientAlgorithms
}

// Verifier tells who calls by the bearer token. It is safe for concurrent use.
type Verifier struct {
	issuers map[string]*Issuer
	clock   clock.Clock
	seen    *tokens
}

// NewVerifier returns a verifier that trusts the issuers.
func NewVerifier(issuers []Issuer, c clock.Clock) *Verifier {
	v := &Verifier{issuers: map[string]*Issuer{}, clock: c, seen: newTokens(tokenCache)}
	for _, i := range issuers {
		v.issuers[i.URL] = &i
	}
	return v
}

// Verify returns the caller that a bearer token (a JWT, RFC 9068 from the built-in issuer)
// stands for, or UNAUTHENTICATED with the reason TOKEN_EXPIRED or TOKEN_INVALID, or
// UNAVAILABLE when the issuer's keys cannot be had. A verified token is remembered for a few
// minutes, at most until it expires.
func (v *Verifier) Verify(ctx context.Context, bearer string) (Principal, error) {
	if len(bearer) > maxToken {
		return Principal{}, invalid("it is longer than %d bytes", maxToken)
	}
	hash := sha256.Sum256([]byte(bearer))
	now := v.clock.Now()
	if p, ok := v.seen.get(hash, now); ok {
		return p, nil
	}
	t, err := parseToken(bearer)
	if err != nil {
		return Principal{}, err
	}
	issuer, ok := v.issuers[t.claims.Issuer]
	if !ok {
		return Principal{}, invalid("its issuer is not trusted here")
	}
	if err := t.verify(ctx, issuer); err != nil {
		return Principal{}, err
	}
	if err := t.valid(issuer, now); err != nil {
		return Principal{}, err
	}
	p, err := t.principal(issuer)
	if err != nil {
		return Principal{}, err
	}
	p.Expires = t.claims.Expiry.Time().Unix()
	until := now.Add(tokenKept)
	if exp := t.claims.Expiry.Time(); exp.Before(until) {
		until = exp
	}
	v.seen.put(hash, p, until)
	return p, nil
}

func invalid(format string, a ...any) error {
	return fault.Unauthenticated("TOKEN_INVALID", "the access token is not valid: %s", fmt.Sprintf(format, a...))
}

// token is a parsed JWT, not to be believed before verify.
type token struct {
	jws     *jose.JSONWebSignature
	payload []byte
	claims  jwt.Claims
	more    struct {
		ClientID string `json:"client_id"`
		Scope    string `json:"scope"`
		Org      string `json:"org"`
		Platform bool   `json:"platform"`
		Profile  string `json:"fhir_profile"`
	}
}

func parseToken(bearer string) (*token, error) {
	jws, err := jose.ParseSignedCompact(bearer, personAlgorithms) // the wider list: the issuer's own is checked once it is known
	if err != nil {
		if _, ok := errors.AsType[*jose.ErrUnexpectedSignatureAlgorithm](err); ok {
			return nil, invalid("its algorithm is not allowed")
		}
		return nil, invalid("it is not a signed JWT")
	}
	t := &token{jws: jws, payload: jws.UnsafePayloadWithoutVerification()}
	if err := json.Unmarshal(t.payload, &t.claims); err != nil {
		return nil, invalid("its claims cannot be read")
	}
	return t, nil
}

// verify checks algorithm, type, key and signature.
func (t *token) verify(ctx context.Context, issuer *Issuer) error {
	header := t.jws.Signatures[0].Protected
	alg := jose.SignatureAlgorithm(header.Algorithm)
	if !slices.Contains(issuer.algorithms(), alg) {
		return invalid("its issuer does not sign with %s", alg)
	}
	typ, _ := header.ExtraHeaders[jose.HeaderType].(string)
	typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
	if typ != "at+jwt" && (!issuer.ofPersons() || typ != "jwt" && typ != "") {
		return invalid("its type is not that of an access token")
	}
	if header.KeyID == "" {
		return invalid("it does not say which key signed it (kid)")
	}
	key, err := issuer.Keys.Pick(ctx, header.KeyID, alg)
	switch {
	case errors.Is(err, jwks.ErrNoKey), errors.Is(err, jwks.ErrAmbiguous):
		return invalid("its issuer has no such key")
	case err != nil:
		return fault.Unavailable(time.Second, fmt.Errorf("keys of %s: %w", issuer.URL, err))
	}
	if _, err := t.jws.Verify(key.Key); err != nil {
		return invalid("its signature does not verify")
	}
	return nil
}

// valid checks the claims that every token has.
func (t *token) valid(issuer *Issuer, now time.Time) error {
	c := &t.claims
	switch {
	case c.Issuer != issuer.URL:
		return invalid("its issuer is another")
	case !c.Audience.Contains(issuer.Audience):
		return invalid("it is not meant for this API (aud)")
	case c.Expiry == nil:
		return invalid("it does not say when it expires (exp)")
	case !now.Before(c.Expiry.Time()):
		return fault.Unauthenticated("TOKEN_EXPIRED", "the access token has expired: get a new one")
	case c.NotBefore != nil && c.NotBefore.Time().After(now.Add(tokenSkew)):
		return invalid("its time has not come yet (nbf)")
	case c.IssuedAt != nil && c.IssuedAt.Time().After(now.Add(tokenSkew)):
		return invalid("it was issued in the future (iat)")
	case c.Subject == "":
		return invalid("it does not say whom it stands for (sub)")
	}
	return nil
}

func (t *token) principal(issuer *Issuer) (Principal, error) {
	if issuer.ofPersons() {
		return t.person(issuer)
	}
	if err := json.Unmarshal(t.payload, &t.more); err != nil {
		return Principal{}, invalid("its claims cannot be read")
	}
	org, ok := resourceName("organizations", t.more.Org)
	if !ok || t.more.ClientID != t.claims.Subject {
		return Principal{}, invalid("its claims do not name a client of an organization")
	}
	return Principal{
		Kind: Client, Subject: "apiClients/" + t.claims.Subject, Organization: org,
		Platform: t.more.Platform, Scopes: strings.Fields(t.more.Scope), Profile: t.more.Profile,
	}, nil
}

// person reads the claims that the issuer uses. Roles that Cairn does not know are passed over.
func (t *token) person(issuer *Issuer) (Principal, error) {
	var claims map[string]json.RawMessage
	if err := json.Unmarshal(t.payload, &claims); err != nil {
		return Principal{}, invalid("its claims cannot be read")
	}
	p := Principal{Kind: User, Subject: t.claims.Subject}
	for _, c := range []struct {
		claim, collection string
		into              *string
	}{
		{issuer.OrganizationClaim, "organizations", &p.Organization},
		{issuer.MemberClaim, "members", &p.Member},
		{issuer.FacilitatorClaim, "facilitators", &p.Facilitator},
	} {
		raw, ok := claims[c.claim]
		if c.claim == "" || !ok {
			continue
		}
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return Principal{}, invalid("its claim %s is not a text", c.claim)
		}
		if *c.into, ok = resourceName(c.collection, s); !ok {
			return Principal{}, invalid("its claim %s is not of the form %s/{uuid}", c.claim, c.collection)
		}
	}
	for _, r := range texts(claims[issuer.RolesClaim]) {
		r = strings.ToUpper(r)
		if n := policyv1.Role_value[r]; n != 0 && !slices.Contains(p.Roles, r) {
			p.Roles = append(p.Roles, r)
		}
	}
	return p, nil
}

// resourceName reads a claim that names a resource, with or without its collection.
func resourceName(collection, claim string) (string, bool) {
	s := strings.TrimPrefix(claim, collection+"/")
	id, err := uuid.Parse(s)
	if err != nil || id == uuid.Nil || len(s) != 36 {
		return "", false
	}
	return collection + "/" + id.String(), true
}

// texts reads a claim that is a list of texts, or one text of words.
func texts(raw json.RawMessage) []string {
	var list []string
	if json.Unmarshal(raw, &list) == nil {
		return list
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return strings.Fields(one)
	}
	return nil
}

// tokens remembers verified tokens by their hash, the latest used at the front.
type tokens struct {
	mu    sync.Mutex
	size  int
	order *list.List
	byKey map[[sha256.Size]byte]*list.Element
}

type seenToken struct {
	hash  [sha256.Size]byte
	p     Principal
	until time.Time
}

func newTokens(size int) *tokens {
	return &tokens{size: size, order: list.New(), byKey: map[[sha256.Size]byte]*list.Element{}}
}

func (s *tokens) get(hash [sha256.Size]byte, now time.Time) (Principal, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.byKey[hash]
	if !ok {
		return Principal{}, false
	}
	t := e.Value.(*seenToken) //nolint:forcetypeassert // the list holds nothing else
	if !now.Before(t.until) {
		s.order.Remove(e)
		delete(s.byKey, hash)
		return Principal{}, false
	}
	s.order.MoveToFront(e)
	return t.p, true
}

func (s *tokens) put(hash [sha256.Size]byte, p Principal, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.byKey[hash]; ok {
		return
	}
	s.byKey[hash] = s.order.PushFront(&seenToken{hash: hash, p: p, until: until})
	if s.order.Len() > s.size {
		oldest := s.order.Back()
		delete(s.byKey, oldest.Value.(*seenToken).hash) //nolint:forcetypeassert // the list holds nothing else
		s.order.Remove(oldest)
	}
}
