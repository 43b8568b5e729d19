package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/jwks"
	"cairn.care/services/chassis/outbound"
)

const (
	keysAge   = 5 * time.Minute // how long keys are kept when their publisher does not say
	keysStale = time.Hour       // how much longer while the publisher is out of reach
)

// PartnersKeys is the key source of the built-in issuer: the partners service. Keys are
// asked for again every five minutes and, within limits, when a token names an unknown one.
func PartnersKeys(client partnersv1.TokenServiceClient, c clock.Clock) KeySource {
	return jwks.NewCache(func(ctx context.Context) (jwks.Set, time.Duration, error) {
		resp, err := client.ListSigningKeys(ctx, &partnersv1.ListSigningKeysRequest{})
		if err != nil {
			return nil, 0, fmt.Errorf("list signing keys: %w", err)
		}
		var doc struct {
			Keys []map[string]string `json:"keys"`
		}
		for _, k := range resp.GetSigningKeys() {
			doc.Keys = append(doc.Keys, map[string]string{"kid": k.GetKid(), "kty": k.GetKty(), "crv": k.GetCrv(), "x": k.GetX(), "y": k.GetY(), "alg": k.GetAlg(), "use": "sig"})
		}
		raw, err := json.Marshal(doc)
		if err != nil {
			return nil, 0, fmt.Errorf("list signing keys: %w", err)
		}
		set, _, err := jwks.Parse(raw)
		return set, keysAge, err
	}, c, jwks.Limits{MinInterval: time.Second, MaxAge: keysAge, MaxStale: keysStale})
}

// RemoteKeys is the key source of an OIDC issuer: its key set's URL, or if that is empty
// what its discovery document (OpenID Connect Discovery 1.0 §4) says.
func RemoteKeys(client *outbound.Client, issuer, jwksURL string, c clock.Clock) KeySource {
	return jwks.NewCache(func(ctx context.Context) (jwks.Set, time.Duration, error) {
		url := jwksURL
		if url == "" {
			var err error
			if url, err = discover(ctx, client, issuer); err != nil {
				return nil, 0, err
			}
		}
		return jwks.Remote(client, url, keysAge)(ctx)
	}, c, jwks.Limits{MinInterval: 10 * time.Second, MaxStale: keysStale})
}

func discover(ctx context.Context, client *outbound.Client, issuer string) (string, error) {
	doc, err := client.Get(ctx, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", "application/json")
	if err != nil {
		return "", fmt.Errorf("discover %s: %w", issuer, err)
	}
	var meta struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(doc.Body, &meta); err != nil {
		return "", fmt.Errorf("discover %s: %w", issuer, err)
	}
	if meta.Issuer != issuer {
		return "", errors.New("discover " + issuer + ": the document is another issuer's")
	}
	return meta.JWKSURI, nil
}
