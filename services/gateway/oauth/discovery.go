package oauth

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/auth"
)

// configuration is SMART App Launch 2, "Conformance": what a backend service needs.
type configuration struct {
	Issuer            string   `json:"issuer"`
	JWKSURI           string   `json:"jwks_uri"`
	TokenEndpoint     string   `json:"token_endpoint"`
	GrantTypes        []string `json:"grant_types_supported"`
	AuthMethods       []string `json:"token_endpoint_auth_methods_supported"`
	SigningAlgorithms []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	Scopes            []string `json:"scopes_supported"`
	Capabilities      []string `json:"capabilities"`
	// SMART requires the name also of servers that have no authorization endpoint; S256 is
	// the only method that it allows.
	ChallengeMethods []string `json:"code_challenge_methods_supported"`
}

func smartConfiguration(publicURL string) configuration {
	return configuration{
		Issuer: publicURL, JWKSURI: publicURL + JWKSPath, TokenEndpoint: publicURL + TokenPath,
		GrantTypes: []string{"client_credentials"}, AuthMethods: []string{"private_key_jwt"}, SigningAlgorithms: []string{"RS384", "ES384"},
		Scopes: auth.Scopes(), Capabilities: []string{"client-confidential-asymmetric", "permission-v2"}, ChallengeMethods: []string{"S256"},
	}
}

// document is public JSON that may be kept for a few minutes.
type document struct {
	body []byte
	etag string
}

func newDocument(v any) (*document, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode document: %w", err)
	}
	sum := sha256.Sum256(body)
	return &document{body: body, etag: `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}, nil
}

func (d *document) serve(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Header().Set("ETag", d.etag)
	if matches(r.Header.Get("If-None-Match"), d.etag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write(d.body)
	return err
}

// matches is the weak comparison of If-None-Match (RFC 9110 §13.1.2).
func matches(header, etag string) bool {
	for _, tag := range strings.Split(header, ",") {
		if tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/"); tag == etag || tag == "*" {
			return true
		}
	}
	return false
}

// jwk is a public signing key (RFC 7517, RFC 7518 §6.2).
type jwk struct {
	Kty string `json:"kty"`
	Kid string `json:"kid"`
	Use string `json:"use"`
	Alg string `json:"alg"`
	Crv string `json:"crv"`
	X   string `json:"x"`
	Y   string `json:"y"`
}

// jwks serves the keys of access tokens. The next key is among them long before it signs,
// so that a copy kept for some minutes is never too old.
func (h *handler) jwks(w http.ResponseWriter, r *http.Request) {
	resp, err := h.tokens.ListSigningKeys(r.Context(), &partnersv1.ListSigningKeysRequest{})
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	set := struct {
		Keys []jwk `json:"keys"`
	}{Keys: []jwk{}}
	for _, k := range resp.GetSigningKeys() {
		set.Keys = append(set.Keys, jwk{Kty: k.GetKty(), Kid: k.GetKid(), Use: "sig", Alg: k.GetAlg(), Crv: k.GetCrv(), X: k.GetX(), Y: k.GetY()})
	}
	doc, err := newDocument(set)
	if err == nil {
		err = doc.serve(w, r)
	}
	if err != nil {
		h.lost(r, err)
	}
}
