// Package jwks reads the JSON Web Key Sets (RFC 7517) of others and picks the one key
// under which a token is signed.
package jwks

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

const (
	// MaxBytes is the largest key set read.
	MaxBytes = 64 << 10
	maxKeys  = 100

	minRSA = 2048 // bits
	maxRSA = 8192 // bits: more would cost too much to verify with
)

// ErrNoKey says that no key of the set can have signed the token.
var ErrNoKey = errors.New("no key matches")

// ErrAmbiguous says that several keys of the set match: the set is at fault.
var ErrAmbiguous = errors.New("more than one key matches")

// Set is the usable part of a key set: public keys that verify signatures.
type Set []jose.JSONWebKey

// Rejected is a key that its publisher should mend.
type Rejected struct {
	Index  int // in "keys", from 0
	Reason string
}

// Parse reads a key set. Keys for encryption and of unknown types are passed over, as
// RFC 7517 §5 asks; keys that are private, broken or weak are rejected. It is an error
// only if the document is no key set at all.
func Parse(doc []byte) (Set, []Rejected, error) {
	if len(doc) > MaxBytes {
		return nil, nil, fmt.Errorf("a key set of more than %d bytes", MaxBytes)
	}
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(doc, &raw); err != nil {
		return nil, nil, errors.New(`not a JWK Set: want a JSON object {"keys": [...]}`)
	}
	if raw.Keys == nil {
		return nil, nil, errors.New(`not a JWK Set: "keys" is missing`)
	}
	if len(raw.Keys) > maxKeys {
		return nil, nil, fmt.Errorf("a key set of more than %d keys", maxKeys)
	}
	var set Set
	var bad []Rejected
	for i, r := range raw.Keys {
		k, err := parseKey(r)
		switch {
		case err != nil:
			bad = append(bad, Rejected{Index: i, Reason: err.Error()})
		case k != nil:
			set = append(set, *k)
		}
	}
	return set, bad, nil
}

// parseKey returns nil for a key that is fine but not for verifying signatures.
func parseKey(raw json.RawMessage) (*jose.JSONWebKey, error) {
	var meta struct {
		Kty string          `json:"kty"`
		Use string          `json:"use"`
		Ops []string        `json:"key_ops"`
		D   json.RawMessage `json:"d"`
		K   json.RawMessage `json:"k"`
	}
	if err := json.Unmarshal(raw, &meta); err != nil {
		return nil, errors.New("not a JSON Web Key")
	}
	if meta.D != nil || meta.K != nil || meta.Kty == "oct" {
		return nil, errors.New("a private or symmetric key: it is no secret any more; make a new pair and send its public half only")
	}
	var k jose.JSONWebKey
	err := json.Unmarshal(raw, &k)
	switch {
	case errors.Is(err, jose.ErrUnsupportedKeyType):
		return nil, nil //nolint:nilnil // RFC 7517 §5: ignored
	case err != nil || !k.Valid() || !k.IsPublic():
		return nil, errors.New("not a valid public key")
	case meta.Use != "" && meta.Use != "sig", meta.Ops != nil && !slices.Contains(meta.Ops, "verify"):
		return nil, nil //nolint:nilnil // for encryption
	}
	if pub, ok := k.Key.(*rsa.PublicKey); ok && (pub.N.BitLen() < minRSA || pub.N.BitLen() > maxRSA) {
		return nil, fmt.Errorf("an RSA key of %d bits: want %d to %d", pub.N.BitLen(), minRSA, maxRSA)
	}
	return &k, nil
}

// Pick returns the only key of the set with the kid and of the type that the algorithm needs.
func (s Set) Pick(kid string, alg jose.SignatureAlgorithm) (*jose.JSONWebKey, error) {
	var found *jose.JSONWebKey
	for i := range s {
		if kid == "" || s[i].KeyID != kid || !Suits(&s[i], alg) {
			continue
		}
		if found != nil {
			return nil, ErrAmbiguous
		}
		found = &s[i]
	}
	if found == nil {
		return nil, ErrNoKey
	}
	return found, nil
}

// Suits tells whether a key is of the type and curve that the algorithm needs, and does
// not itself name another algorithm.
func Suits(k *jose.JSONWebKey, alg jose.SignatureAlgorithm) bool {
	if k.Algorithm != "" && k.Algorithm != string(alg) {
		return false
	}
	switch alg {
	case jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512:
		_, ok := k.Key.(*rsa.PublicKey)
		return ok
	case jose.ES256:
		return onCurve(k.Key, elliptic.P256())
	case jose.ES384:
		return onCurve(k.Key, elliptic.P384())
	case jose.ES512:
		return onCurve(k.Key, elliptic.P521())
	case jose.EdDSA:
		_, ok := k.Key.(ed25519.PublicKey)
		return ok
	}
	return false
}

func onCurve(key crypto.PublicKey, curve elliptic.Curve) bool {
	pub, ok := key.(*ecdsa.PublicKey)
	return ok && pub.Curve == curve
}
