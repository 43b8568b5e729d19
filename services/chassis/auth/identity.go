package auth

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cairn.care/services/chassis/clock"
)

// IdentityHeader is the metadata key that carries a signed identity between services.
const IdentityHeader = "x-cairn-identity"

const (
	identityTTL  = time.Minute
	identitySkew = 10 * time.Second
	identityMax  = 8 << 10 // bytes
)

// Identities signs who calls for a peer, and verifies it there. All services of one
// installation share its keys.
type Identities struct {
	keys  [][]byte // the first signs, all verify
	clock clock.Clock
}

type identity struct {
	Principal Principal `json:"p"`
	Audience  string    `json:"aud"`
	Expiry    int64     `json:"exp"` // Unix seconds
}

// NewIdentities returns identities under a fresh random key: for one process.
func NewIdentities(c clock.Clock) *Identities {
	key := make([]byte, 32)
	rand.Read(key) // never fails (Go 1.24)
	return &Identities{keys: [][]byte{key}, clock: c}
}

// LoadIdentities reads keys from a file: one base64 key of 32 bytes or more a line, the
// first signs. Only its owner may be able to read it. Rotate by putting a new key second everywhere, then first.
func LoadIdentities(path string, c clock.Clock) (*Identities, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("identity keys: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("identity keys: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("identity keys: %s: mode is %#o, but only its owner may read it: chmod 600 %[1]s", path, mode)
	}
	id := &Identities{clock: c}
	s := bufio.NewScanner(f)
	for s.Scan() {
		line := strings.TrimSpace(s.Text())
		if line == "" {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(key) < 32 {
			return nil, fmt.Errorf("identity keys: %s: every line must be base64 of at least 32 bytes", path)
		}
		id.keys = append(id.keys, key)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("identity keys: %s: %w", path, err)
	}
	if len(id.keys) == 0 {
		return nil, fmt.Errorf("identity keys: %s holds none", path)
	}
	return id, nil
}

// Sign returns the identity of p for the audience service, valid for a minute.
func (i *Identities) Sign(p Principal, audience string) (string, error) {
	payload, err := json.Marshal(identity{Principal: p, Audience: audience, Expiry: i.clock.Now().Add(identityTTL).Unix()})
	if err != nil {
		return "", fmt.Errorf("sign identity: %w", err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: i.keys[0]}, nil)
	if err != nil {
		return "", fmt.Errorf("sign identity: %w", err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign identity: %w", err)
	}
	return jws.CompactSerialize()
}

// Verify returns the principal of an identity that was signed for the audience.
func (i *Identities) Verify(token, audience string) (Principal, error) {
	if len(token) > identityMax {
		return Principal{}, errors.New("identity too long")
	}
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.HS256})
	if err != nil {
		return Principal{}, fmt.Errorf("identity: %w", err)
	}
	for _, key := range i.keys {
		payload, err := jws.Verify(key)
		if err != nil {
			continue
		}
		var id identity
		if err := json.Unmarshal(payload, &id); err != nil {
			return Principal{}, fmt.Errorf("identity: %w", err)
		}
		if id.Audience != audience {
			return Principal{}, fmt.Errorf("identity is for %q", id.Audience)
		}
		if i.clock.Now().Add(-identitySkew).Unix() > id.Expiry {
			return Principal{}, errors.New("identity has expired")
		}
		return id.Principal, nil
	}
	return Principal{}, errors.New("identity is signed by none of our keys")
}
