package partners

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/jackc/pgx/v5"
	"github.com/tink-crypto/tink-go/v2/tink"
	"google.golang.org/protobuf/types/known/timestamppb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/chassis/pg"
)

const (
	// tokenLife is how long an access token is good: SMART Backend Services advises five minutes at most.
	tokenLife = 5 * time.Minute

	// retiredLife is how long a retired key is published: until the last token under it has
	// expired everywhere, also where a request to sign was under way or a clock is late.
	retiredLife = tokenLife + 2*time.Minute

	// keyLife is how long a key signs before it is rotated by itself.
	keyLife = 30 * 24 * time.Hour
)

const signingKeyColumns = `kid, state, x, y, sealed, create_time, activate_time, expire_time`

// signingKeyRow is a row of signing_keys.
type signingKeyRow struct {
	KID          string
	State        string
	X, Y         string
	Sealed       []byte
	CreateTime   time.Time
	ActivateTime *time.Time
	ExpireTime   *time.Time
}

func (r *signingKeyRow) toProto() *partnersv1.SigningKey {
	k := &partnersv1.SigningKey{
		Name: "signingKeys/" + r.KID, Kid: r.KID, Kty: "EC", Crv: "P-256", X: r.X, Y: r.Y, Alg: string(jose.ES256),
		State: partnersv1.SigningKey_State(partnersv1.SigningKey_State_value[r.State]), CreateTime: timestamppb.New(r.CreateTime),
	}
	if r.ExpireTime != nil {
		k.ExpireTime = timestamppb.New(*r.ExpireTime)
	}
	return k
}

// newSigningKey makes a key pair and seals the private half.
func newSigningKey(aead tink.AEAD, state string, now time.Time) (*signingKeyRow, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make signing key: %w", err)
	}
	jwk := jose.JSONWebKey{Key: private.Public()}
	thumb, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("make signing key: %w", err)
	}
	r := &signingKeyRow{KID: base64.RawURLEncoding.EncodeToString(thumb), State: state, CreateTime: now}
	if state == "CURRENT" {
		r.ActivateTime = &now
	}
	raw, err := jwk.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("make signing key: %w", err)
	}
	var point struct{ X, Y string }
	if err := json.Unmarshal(raw, &point); err != nil {
		return nil, fmt.Errorf("make signing key: %w", err)
	}
	r.X, r.Y = point.X, point.Y
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("make signing key: %w", err)
	}
	if r.Sealed, err = aead.Encrypt(der, sealContext(r.KID)); err != nil {
		return nil, fmt.Errorf("seal signing key: %w", err)
	}
	return r, nil
}

// sealContext binds a sealed key to its kid.
func sealContext(kid string) []byte { return []byte("cairn signing key\x00" + kid) }

// ensureSigningKeys makes the first keys where there are none, and fails if the current
// one cannot be opened.
func (s *service) ensureSigningKeys(ctx context.Context) error {
	err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		keys, err := lockSigningKeys(ctx, tx)
		if err != nil {
			return err
		}
		for _, state := range []string{"CURRENT", "NEXT"} {
			key := inState(keys, state)
			if key == nil {
				if key, err = newSigningKey(s.crypt.AEAD(), state, s.clock.Now()); err != nil {
					return err
				}
				if err := insertSigningKey(ctx, tx, key); err != nil {
					return err
				}
			}
			if _, err := open(s.crypt.AEAD(), key); err != nil {
				return fmt.Errorf("%w (is encryption_keys_file the one it was sealed with?)", err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("signing keys: %w", err)
	}
	return nil
}

// rotateSigningKey makes the next key the current one and publishes a new next, unless the
// current one has been signing for less than a time. It returns the current key.
func (s *service) rotateSigningKey(ctx context.Context, unless time.Duration) (*partnersv1.SigningKey, error) {
	var out *partnersv1.SigningKey
	err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		keys, err := lockSigningKeys(ctx, tx)
		if err != nil {
			return err
		}
		now := s.clock.Now()
		current, next := inState(keys, "CURRENT"), inState(keys, "NEXT")
		if current == nil || next == nil || current.ActivateTime == nil {
			return fmt.Errorf("there is no current or no next key")
		}
		if now.Sub(*current.ActivateTime) < unless {
			out = current.toProto()
			return idem.SaveTx(ctx, tx, out)
		}
		expiry := now.Add(retiredLife)
		current.State, current.ExpireTime = "RETIRED", &expiry
		next.State, next.ActivateTime = "CURRENT", &now
		after, err := newSigningKey(s.crypt.AEAD(), "NEXT", now)
		if err != nil {
			return err
		}
		for _, k := range []*signingKeyRow{current, next} { // in this order: one current at a time
			if err := updateSigningKey(ctx, tx, k); err != nil {
				return err
			}
		}
		if err := insertSigningKey(ctx, tx, after); err != nil {
			return err
		}
		s.log.InfoContext(ctx, "signing key rotated", "kid", next.KID, "retired", current.KID)
		out = next.toProto()
		return idem.SaveTx(ctx, tx, out)
	})
	if err != nil {
		return nil, fmt.Errorf("rotate signing key: %w", err)
	}
	return out, nil
}

func inState(keys []*signingKeyRow, state string) *signingKeyRow {
	for _, k := range keys {
		if k.State == state {
			return k
		}
	}
	return nil
}

// lockSigningKeys returns all keys; nobody else changes them until the transaction ends.
func lockSigningKeys(ctx context.Context, tx pgx.Tx) ([]*signingKeyRow, error) {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('signing_keys', 0))`); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `SELECT `+signingKeyColumns+` FROM signing_keys`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[signingKeyRow])
}

// selectSigningKeys returns the published keys: next, current, retired.
func selectSigningKeys(ctx context.Context, q pg.Querier, now time.Time) ([]*signingKeyRow, error) {
	rows, err := q.Query(ctx, `
		SELECT `+signingKeyColumns+` FROM signing_keys
		WHERE expire_time IS NULL OR expire_time > @now
		ORDER BY state = 'RETIRED', state = 'CURRENT', expire_time DESC, kid`, pgx.NamedArgs{"now": now})
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[signingKeyRow])
}

func insertSigningKey(ctx context.Context, tx pgx.Tx, r *signingKeyRow) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO signing_keys (kid, state, x, y, sealed, create_time, activate_time)
		VALUES (@kid, @state, @x, @y, @sealed, @create_time, @activate_time)`,
		pgx.NamedArgs{"kid": r.KID, "state": r.State, "x": r.X, "y": r.Y, "sealed": r.Sealed, "create_time": r.CreateTime, "activate_time": r.ActivateTime})
	return err
}

func updateSigningKey(ctx context.Context, tx pgx.Tx, r *signingKeyRow) error {
	_, err := tx.Exec(ctx, `UPDATE signing_keys SET state = @state, activate_time = @activate_time, expire_time = @expire_time WHERE kid = @kid`,
		pgx.NamedArgs{"kid": r.KID, "state": r.State, "activate_time": r.ActivateTime, "expire_time": r.ExpireTime})
	return err
}

// open returns a key's private half.
func open(aead tink.AEAD, r *signingKeyRow) (*ecdsa.PrivateKey, error) {
	der, err := aead.Decrypt(r.Sealed, sealContext(r.KID))
	if err != nil {
		return nil, fmt.Errorf("open signing key %s: %w", r.KID, err)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("open signing key %s: %w", r.KID, err)
	}
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("open signing key %s: it is a %T", r.KID, key)
	}
	return private, nil
}

// signer signs access tokens and remembers the opened key.
type signer struct {
	mu   sync.Mutex
	kid  string
	jose jose.Signer
}

// sign returns a JWT with the claims under the key.
func (s *signer) sign(aead tink.AEAD, key *signingKeyRow, claims any) (string, error) {
	under, err := s.under(aead, key)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode access token: %w", err)
	}
	jws, err := under.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign access token: %w", err)
	}
	return jws.CompactSerialize()
}

func (s *signer) under(aead tink.AEAD, key *signingKeyRow) (jose.Signer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kid == key.KID {
		return s.jose, nil
	}
	private, err := open(aead, key)
	if err != nil {
		return nil, err
	}
	opts := (&jose.SignerOptions{}).WithType("at+jwt")
	js, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: private, KeyID: key.KID}}, opts)
	if err != nil {
		return nil, fmt.Errorf("sign access token: %w", err)
	}
	s.kid, s.jose = key.KID, js
	return js, nil
}
