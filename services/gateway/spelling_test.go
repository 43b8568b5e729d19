package gateway

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	"cairn.care/services/chassis/fault"
)

// TestSpelling has a service's sentences name fields as their caller wrote them.
func TestSpelling(t *testing.T) {
	t.Parallel()
	rs, err := routesOf(services())
	if err != nil {
		t.Fatal(err)
	}
	for said, want := range map[string]string{
		"must be after start_time":                         "must be after startTime",
		"to make an exception, say why in override_reason": "to make an exception, say why in overrideReason",
		"update licence.expire_date first":                 "update licence.expireDate first",
		"one of jwks and jwks_uri is required":             "one of jwks and jwksUri is required",
		`"start_time" is in update_mask as well`:           `"start_time" is in updateMask as well`,
		`"a \"b\" end_time" is no start_time`:              `"a \"b\" end_time" is no startTime`,
		"my_start_time and start_times":                    "my_start_time and start_times", // are no fields
		"another call with this request_id has ended":      "another call with this Idempotency-Key has ended",
		"X_START_TIME is no value":                         "X_START_TIME is no value",
	} {
		c := &call{invoked: true, idempotencyKey: "given", spelling: rs.spelling}
		st := fault.From(fault.Precondition("SOME", "groups/1", "%s", said)).Proto()
		c.rewrite(st)
		broken := &errdetails.PreconditionFailure{}
		for _, d := range st.GetDetails() {
			if d.MessageIs(broken) {
				if err := d.UnmarshalTo(broken); err != nil {
					t.Fatal(err)
				}
			}
		}
		if st.GetMessage() != want || len(broken.GetViolations()) != 1 || broken.GetViolations()[0].GetDescription() != want {
			t.Errorf("%q is told as %q and %v; want %q", said, st.GetMessage(), broken.GetViolations(), want)
		}
	}
}

// The last line of a stream that breaks off names fields as other errors do.
func TestSpellingOfStreams(t *testing.T) {
	t.Parallel()
	rs, err := routesOf(services())
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.WithValue(t.Context(), callKey{}, &call{invoked: true, spelling: rs.spelling})
	broken := fault.Invalid(fault.Field("start_time", "must be before end_time"))
	if st := streamError(ctx, broken); st.Message() != "startTime: must be before endTime" {
		t.Errorf("told is %v", st)
	}
	if st := streamError(ctx, errors.New("the password is swordfish")); st.Code() != codes.Internal || strings.Contains(st.String(), "swordfish") {
		t.Errorf("told is %v", st)
	}
}

// Who comes with a point of a listing or a log that is no longer kept is told that it is gone.
func TestExpiredCursorsAreGone(t *testing.T) {
	t.Parallel()
	for reason, want := range map[string]int{"CURSOR_EXPIRED": http.StatusGone, "SYNC_TOKEN_EXPIRED": http.StatusGone, "TOO_FAR": http.StatusBadRequest} {
		if _, got := new(call).status(&fault.Error{Code: codes.OutOfRange, Reason: reason}); got != want {
			t.Errorf("%s is %d, want %d", reason, got, want)
		}
	}
}
