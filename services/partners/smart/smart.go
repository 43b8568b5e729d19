// Package smart holds the rules by which a client proves who it is: HL7 SMART App Launch 2,
// "Client Authentication: Asymmetric" and "Backend Services", over RFC 6749, RFC 7521 and
// RFC 7523. It does no I/O: keys and the memory of used assertions are the caller's.
package smart

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json" // case-sensitive, refuses a name that comes twice
	"github.com/go-jose/go-jose/v4/jwt"

	"cairn.care/services/chassis/auth"
)

const (
	// GrantType is the only grant there is (RFC 6749 §4.4).
	GrantType = "client_credentials"
	// AssertionType is how clients authenticate (RFC 7523 §2.2).
	AssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	// MaxLife is how far ahead an assertion may expire.
	MaxLife = 5 * time.Minute

	maxAssertion = 8192 // bytes
	maxJTI       = 255  // bytes
	skew         = 30 * time.Second
)

// Algorithms are those by which clients may sign.
var algorithms = []jose.SignatureAlgorithm{jose.RS384, jose.ES384}

// Algorithms returns the names of the algorithms by which clients may sign.
func Algorithms() []jose.SignatureAlgorithm { return slices.Clone(algorithms) }

// Code is an OAuth 2.0 error code (RFC 6749 §5.2).
type Code string

// The codes with which a request can be refused.
const (
	InvalidRequest       Code = "invalid_request"
	InvalidClient        Code = "invalid_client"
	InvalidScope         Code = "invalid_scope"
	UnsupportedGrantType Code = "unsupported_grant_type"
)

// Error is why a token request is refused.
type Error struct {
	Code        Code
	Description string // for the client's developer
}

// Error returns code and description.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Description }

// Refuse returns an Error.
func Refuse(code Code, format string, a ...any) error {
	return &Error{Code: code, Description: fmt.Sprintf(format, a...)}
}

// CheckGrant checks the parameters that say what is asked for, and how.
func CheckGrant(grantType, assertionType string) error {
	switch {
	case grantType == "":
		return Refuse(InvalidRequest, "grant_type is missing: send %s", GrantType)
	case grantType != GrantType:
		return Refuse(UnsupportedGrantType, "grant_type must be %s", GrantType)
	case assertionType == "":
		return Refuse(InvalidRequest, "client_assertion_type is missing: send %s", AssertionType)
	case assertionType != AssertionType:
		return Refuse(InvalidRequest, "client_assertion_type must be %s", AssertionType)
	}
	return nil
}

// Scopes returns the scopes asked for, once each, if all of them are allowed: registered, or less than what is registered
// ("system/Task.r" under "system/*.rs").
func Scopes(requested string, allowed []string) ([]string, error) {
	var scopes []string
	for _, s := range strings.Split(requested, " ") {
		switch {
		case s == "" || slices.Contains(scopes, s):
		case !auth.Covers(allowed, s):
			return nil, Refuse(InvalidScope, "the client may not ask for %q; registered for it: %s", clip(s), strings.Join(allowed, " "))
		default:
			scopes = append(scopes, s)
		}
	}
	if scopes == nil {
		return nil, Refuse(InvalidScope, "scope is missing: name the scopes wanted, with spaces between them")
	}
	return scopes, nil
}

// Assertion is a client's signed statement of who it is. Until Verify has succeeded
// nothing in it is to be believed.
type Assertion struct {
	ClientID  string // iss and sub
	KeyID     string // kid
	Algorithm jose.SignatureAlgorithm
	KeySetURL string // jku, "" if absent
	ID        string // jti
	Expiry    time.Time

	jws    *jose.JSONWebSignature
	claims jwt.Claims
}

// Parse reads an assertion and checks everything in its form: one signature in compact
// serialization, an allowed algorithm, typ, kid, and that every required claim is there.
func Parse(assertion string) (*Assertion, error) {
	switch {
	case assertion == "":
		return nil, Refuse(InvalidRequest, "client_assertion is missing: send a signed JWT")
	case len(assertion) > maxAssertion:
		return nil, Refuse(InvalidClient, "client_assertion is longer than %d bytes", maxAssertion)
	}
	jws, err := jose.ParseSignedCompact(assertion, algorithms)
	if err != nil {
		return nil, Refuse(InvalidClient, "client_assertion is not a JWT in compact form, signed by RS384 or ES384")
	}
	a := &Assertion{jws: jws}
	if err := a.header(jws.Signatures[0].Protected); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &a.claims); err != nil {
		return nil, Refuse(InvalidClient, "the claims of client_assertion cannot be read: want a JSON object with iss, sub, aud, exp and jti")
	}
	c := a.claims
	switch {
	case c.Issuer == "" || c.Subject == "":
		return nil, Refuse(InvalidClient, "iss and sub of client_assertion must both be the client id")
	case c.Issuer != c.Subject:
		return nil, Refuse(InvalidClient, "iss and sub of client_assertion differ: both must be the client id")
	case c.Expiry == nil:
		return nil, Refuse(InvalidClient, "client_assertion has no exp")
	case c.ID == "":
		return nil, Refuse(InvalidClient, "client_assertion has no jti")
	case len(c.ID) > maxJTI:
		return nil, Refuse(InvalidClient, "jti of client_assertion is longer than %d bytes", maxJTI)
	}
	a.ClientID, a.ID, a.Expiry = c.Issuer, c.ID, c.Expiry.Time().UTC()
	return a, nil
}

func (a *Assertion) header(h jose.Header) error {
	a.KeyID, a.Algorithm = h.KeyID, jose.SignatureAlgorithm(h.Algorithm)
	if a.KeyID == "" {
		return Refuse(InvalidClient, "the header of client_assertion has no kid")
	}
	if typ, _ := h.ExtraHeaders[jose.HeaderType].(string); !strings.EqualFold(typ, "JWT") {
		return Refuse(InvalidClient, "the header of client_assertion must have typ JWT")
	}
	if jku, ok := h.ExtraHeaders["jku"]; ok {
		if a.KeySetURL, ok = jku.(string); !ok || a.KeySetURL == "" {
			return Refuse(InvalidClient, "jku in the header of client_assertion is not a URL")
		}
	}
	return nil
}

// CheckKeySetURL checks the jku header against the URL registered for the client, "" if
// the client registered its keys themselves.
func (a *Assertion) CheckKeySetURL(registered string) error {
	if a.KeySetURL != "" && a.KeySetURL != registered {
		return Refuse(InvalidClient, "jku in the header of client_assertion is not the jwks_uri registered for the client")
	}
	return nil
}

// Verify checks the signature under the client's key.
func (a *Assertion) Verify(key *jose.JSONWebKey) error {
	if _, err := a.jws.Verify(key.Key); err != nil {
		return Refuse(InvalidClient, "the signature of client_assertion does not verify under the client's key %q", clip(a.KeyID))
	}
	return nil
}

// CheckClaims checks for whom and when the assertion is good. tokenURL is the token
// endpoint; aud must be exactly that, and nothing else.
func (a *Assertion) CheckClaims(tokenURL string, now time.Time) error {
	c, life := a.claims, a.Expiry.Sub(now)
	switch {
	case len(c.Audience) != 1 || c.Audience[0] != tokenURL:
		return Refuse(InvalidClient, "aud of client_assertion must be %s and nothing else", tokenURL)
	case life <= 0:
		return Refuse(InvalidClient, "client_assertion has expired: exp is %s, it is %s here", stamp(a.Expiry), stamp(now))
	case life > MaxLife:
		return Refuse(InvalidClient, "exp of client_assertion is more than %d seconds ahead: exp is %s, it is %s here", int(MaxLife.Seconds()), stamp(a.Expiry), stamp(now))
	}
	for name, t := range map[string]*jwt.NumericDate{"nbf": c.NotBefore, "iat": c.IssuedAt} {
		switch {
		case t == nil:
		case t.Time().After(now.Add(skew)):
			return Refuse(InvalidClient, "%s of client_assertion is in the future: it is %s here", name, stamp(now))
		case t.Time().After(a.Expiry):
			return Refuse(InvalidClient, "%s of client_assertion is after its exp", name)
		}
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func clip(s string) string {
	if len(s) > 80 {
		s = s[:80]
	}
	return strings.ToValidUTF8(s, "?")
}
