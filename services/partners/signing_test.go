package partners

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/internal/pgtest"
	"cairn.care/services/internal/suitetest"
)

// replica is another process of the service, on the same database.
func replica(t *testing.T, s *suite) *tokenServer {
	t.Helper()
	ks, err := crypt.Load(s.Config.EncryptionKeysFile)
	if err != nil {
		t.Fatal(err)
	}
	return &tokenServer{service: &service{
		db: s.DBs[Name], clock: s.Clock, log: slog.New(slog.DiscardHandler), crypt: ks, url: s.Config.PublicURL, clientKeys: newClientKeys(nil, s.Clock),
	}}
}

// states returns the published keys by state.
func (s *suite) states(t *testing.T) map[partnersv1.SigningKey_State][]string {
	t.Helper()
	resp, err := s.tokens.ListSigningKeys(t.Context(), &partnersv1.ListSigningKeysRequest{})
	if err != nil {
		t.Fatal(err)
	}
	states := map[partnersv1.SigningKey_State][]string{}
	for _, k := range resp.GetSigningKeys() {
		states[k.GetState()] = append(states[k.GetState()], k.GetKid())
	}
	return states
}

func TestRotation(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	o := s.organization(t, partnersv1.Organization_HOSPITAL)
	c := s.client(t, o, "ehr", "partners.read")
	other := replica(t, s)
	verify := func(token string) error {
		fresh := auth.NewVerifier([]auth.Issuer{{URL: s.Config.PublicURL, Audience: s.Config.PublicURL, Keys: auth.PartnersKeys(s.tokens, s.Clock)}}, s.Clock)
		_, err := fresh.Verify(t.Context(), token)
		return err
	}

	before := s.states(t)
	old := s.token(t, c, "partners.read")
	key, err := s.tokens.RotateSigningKey(platform(t), &partnersv1.RotateSigningKeyRequest{})
	if err != nil {
		t.Fatal(err)
	}
	after := s.states(t)
	current, next := before[partnersv1.SigningKey_CURRENT], before[partnersv1.SigningKey_NEXT]
	if key.GetKid() != next[0] || !slices.Equal(after[partnersv1.SigningKey_CURRENT], next) || !slices.Equal(after[partnersv1.SigningKey_RETIRED], current) || len(after[partnersv1.SigningKey_NEXT]) != 1 {
		t.Errorf("rotated from %v to %v", before, after)
	}
	resp, err := other.IssueToken(t.Context(), request(c.assertion(t, s.Clock.Now(), nil, nil), "partners.read"))
	if err != nil {
		t.Fatal(err)
	}
	if kid := jwtHeader(t, resp.GetAccessToken())["kid"]; kid != next[0] {
		t.Errorf("another replica signs with %s; want the new key %s at once", kid, next[0])
	}
	if err := verify(resp.GetAccessToken()); err != nil {
		t.Errorf("a token under the new key: %v", err)
	}
	s.Clock.Advance(tokenLife - time.Second)
	if err := verify(old); err != nil {
		t.Errorf("a token under the old key, in its last second: %v", err)
	}
	s.Clock.Advance(retiredLife - tokenLife + time.Second)
	if retired := s.states(t)[partnersv1.SigningKey_RETIRED]; retired != nil {
		t.Errorf("still published: %v", retired)
	}
	if err := (&sweepWorker{service: other.service}).Work(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	var left int
	if err := s.DBs[Name].QueryRow(t.Context(), `SELECT count(*) FROM signing_keys`).Scan(&left); err != nil || left != 2 {
		t.Errorf("%d keys kept, %v; want next and current", left, err)
	}
}

// TestRotationWithoutOutage rotates while clients get and use tokens: none is refused.
func TestRotationWithoutOutage(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	c := s.client(t, s.organization(t, partnersv1.Organization_HOSPITAL), "ehr", "partners.read")
	var done atomic.Bool
	var used atomic.Int32
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for !done.Load() {
				resp, err := s.tokens.IssueToken(t.Context(), request(c.assertion(t, s.Clock.Now(), nil, nil), "partners.read"))
				if err != nil {
					t.Errorf("issue: %v", err)
					return
				}
				ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+resp.GetAccessToken())
				if _, err := s.ListApiClients(ctx, &partnersv1.ListApiClientsRequest{}); err != nil {
					t.Errorf("use: %v", err)
					return
				}
				used.Add(1)
			}
		})
	}
	for range 8 {
		for target := used.Load() + 8; used.Load() < target && !t.Failed(); {
			if _, err := s.tokens.ListSigningKeys(t.Context(), &partnersv1.ListSigningKeysRequest{}); err != nil {
				t.Error(err)
			}
		}
		s.Clock.Advance(2 * time.Second)
		if _, err := s.tokens.RotateSigningKey(platform(t), &partnersv1.RotateSigningKeyRequest{}); err != nil {
			t.Error(err)
		}
	}
	done.Store(true)
	clients.Wait()
}

func TestRotateSigningKeyIsThePlatforms(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	o := s.organization(t, partnersv1.Organization_HOSPITAL)
	if _, err := s.tokens.RotateSigningKey(suitetest.Client(t.Context(), o.GetName(), "partners.write"), &partnersv1.RotateSigningKeyRequest{}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a hospital rotates: %v; want PERMISSION_DENIED", err)
	}
	req := &partnersv1.RotateSigningKeyRequest{RequestId: "0192d7a5-0000-7000-8000-000000000001"}
	for range 3 {
		if _, err := s.tokens.RotateSigningKey(platform(t), req); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.states(t)[partnersv1.SigningKey_RETIRED]); n != 1 {
		t.Errorf("%d keys retired by one request sent three times; want 1", n)
	}
}

func TestRotationByItself(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	w := &rotateWorker{service: replica(t, s).service}
	current := func() string { return s.states(t)[partnersv1.SigningKey_CURRENT][0] }
	first := current()
	work := func() {
		if err := w.Work(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	s.Clock.Advance(keyLife - time.Second)
	if work(); current() != first {
		t.Error("rotated before its time")
	}
	s.Clock.Advance(time.Second)
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			if err := w.Work(t.Context(), nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if states := s.states(t); states[partnersv1.SigningKey_CURRENT][0] == first || len(states[partnersv1.SigningKey_RETIRED]) != 1 {
		t.Errorf("five replicas whose key is due: %v; want one rotation", states)
	}
}

func TestFirstKeysAreMadeOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, Name, migrations)
	ks, err := crypt.Generate(filepath.Join(t.TempDir(), "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	ctx := auth.System(t.Context(), Name)
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			if err := (&service{db: db, clock: clock.System{}, crypt: ks}).ensureSigningKeys(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	var n int
	if err := db.QueryRow(ctx, `SELECT count(*) FROM signing_keys`).Scan(&n); err != nil || n != 2 {
		t.Errorf("%d keys, %v; want next and current", n, err)
	}
	var sealed []byte
	if err := db.QueryRow(ctx, `SELECT sealed FROM signing_keys WHERE state = 'CURRENT'`).Scan(&sealed); err != nil {
		t.Fatal(err)
	}
	if _, err := ks.AEAD().Decrypt(sealed, sealContext("another")); err == nil {
		t.Error("a sealed key opens under another kid")
	}
	stranger, err := crypt.Generate(filepath.Join(t.TempDir(), "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	err = (&service{db: db, clock: clock.System{}, crypt: stranger}).ensureSigningKeys(context.WithoutCancel(ctx))
	if err == nil || !strings.Contains(err.Error(), "encryption_keys_file") {
		t.Errorf("with another keyset: %v; want a start that is refused", err)
	}
}
