package partners

import (
	"context"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/ratelimit"
)

// with returns a context in which the bearer of a token calls.
func with(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

// Each client has its own calls, a client of the platform more, and every answer says how many are left.
func TestCallsAreLimited(t *testing.T) {
	t.Parallel()
	s := setup(t, nil, func(c *chassis.Config) { c.RateLimit = 4 })
	hospital, nonprofit, operator := s.organization(t, partnersv1.Organization_HOSPITAL), s.organization(t, partnersv1.Organization_NONPROFIT), s.organization(t, partnersv1.Organization_PLATFORM)
	token := func(o *partnersv1.Organization, id string) string {
		return s.token(t, s.client(t, o, id, "partners.read"), "partners.read")
	}
	call := func(token string) (string, error) {
		var header metadata.MD
		_, err := s.ListApiClients(with(t.Context(), token), &partnersv1.ListApiClientsRequest{}, grpc.Header(&header))
		if v := header.Get(ratelimit.Header); len(v) == 1 {
			return v[0], err
		}
		return "", err
	}
	eager := token(hospital, "eager")
	for _, want := range []string{`"client";r=3;t=15`, `"client";r=2;t=30`, `"client";r=1;t=45`, `"client";r=0;t=60`} {
		if left, err := call(eager); err != nil || left != want {
			t.Errorf("%v, %s; want %s", err, left, want)
		}
	}
	left, err := call(eager)
	var wait time.Duration
	for _, d := range status.Convert(err).Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok {
			wait = r.GetRetryDelay().AsDuration()
		}
	}
	if code, why := reason(err); code != codes.ResourceExhausted || why != "RATE_LIMITED" || wait != 15*time.Second || left != `"client";r=0;t=60` {
		t.Errorf("the fifth: %v, again in %v, %s; want RESOURCE_EXHAUSTED, in 15s", err, wait, left)
	}
	if _, err := call(token(nonprofit, "calm")); err != nil {
		t.Errorf("another client: %v", err)
	}
	app := token(operator, "app")
	for range 40 {
		if _, err := call(app); err != nil {
			t.Fatalf("a client of the platform: %v", err)
		}
	}
	if _, err := call(app); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("even the platform has its limit: %v", err)
	}
	s.Clock.Advance(wait)
	if _, err := call(eager); err != nil {
		t.Errorf("after the wait: %v", err)
	}
}

// Why a caller looks at something is one of the codes that are known, or is not said.
func TestPurposeOfUse(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	token := s.token(t, s.client(t, s.organization(t, partnersv1.Organization_HOSPITAL), "ehr", "partners.read"), "partners.read")
	for purpose, want := range map[string]codes.Code{"": codes.OK, "TREAT": codes.OK, "CAREMGT": codes.OK, "treat": codes.InvalidArgument, "CURIOSITY": codes.InvalidArgument} {
		ctx := metadata.AppendToOutgoingContext(with(t.Context(), token), auth.PurposeHeader, purpose)
		if _, err := s.ListApiClients(ctx, &partnersv1.ListApiClientsRequest{}); status.Code(err) != want {
			t.Errorf("%q: %v, want %v", purpose, err, want)
		}
	}
}

// The token that a client has is good no longer once it is disabled, though it was used a moment before.
func TestATokenEndsWithItsClient(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	o := s.organization(t, partnersv1.Organization_HOSPITAL)
	token, kept := s.token(t, s.client(t, o, "ehr", "partners.read"), "partners.read"), s.token(t, s.client(t, o, "kept", "partners.read"), "partners.read")
	call := func(token string) error {
		return second(s.ListApiClients(with(t.Context(), token), &partnersv1.ListApiClientsRequest{}))
	}
	if err := call(token); err != nil {
		t.Fatal(err)
	}
	if _, err := s.UpdateApiClient(platform(t), &partnersv1.UpdateApiClientRequest{
		ApiClient: &partnersv1.ApiClient{Name: "apiClients/ehr", Disabled: true}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"disabled"}},
	}); err != nil {
		t.Fatal(err)
	}
	within(t, "disabled", func() (string, bool) {
		code, why := reason(call(token))
		return why, code == codes.Unauthenticated && why == "CLIENT_DISABLED"
	})
	if err := call(kept); err != nil {
		t.Errorf("another client: %v", err)
	}
}
