package referral

import (
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Every row of BSeR's table is a wish that moves the Task as the row says, for the row's actor and for nobody else.
func TestBSeRRowsAreWishes(t *testing.T) {
	t.Parallel()
	for _, row := range bserRows(t, bser) {
		for _, from := range states() {
			if !isBSeR(from, row.fromStatus, row.fromBusiness) || from == waitlisted && row.a == schedule {
				continue
			}
			w := wish{status: row.toStatus, business: row.toBusiness, session: row.a == schedule, attended: row.a == recordEngagement}
			if a, err := bserGuide.move("referrals/x", from, w, []party{row.by}); err != nil || a != row.a {
				t.Errorf("row %s from %s: got %s, %v, want %s", row.id, from, a, err, row.a)
			}
			wrong := referrer
			if row.by == referrer {
				wrong = receiver
			}
			if a, err := bserGuide.move("referrals/x", from, w, []party{wrong}); status.Code(err) != codes.PermissionDenied {
				// Where the Task is so already, nothing moves and nobody is refused.
				if a != 0 || !bserGuide.matches(from, w) {
					t.Errorf("row %s from %s by %s: got %s, %v", row.id, from, wrong, a, err)
				}
			}
		}
	}
}

// Whatever is wished under a guide, only a legal step of the machine by a party whom the guide lets set it comes of it, and it leads
// where it was wished.
func TestWishesLeadWhereTheyAreMeantTo(t *testing.T) {
	t.Parallel()
	moved := 0
	for _, g := range []guide{sdohccGuide, bserGuide} {
		for _, from := range states() {
			for _, status := range g.statuses {
				for _, business := range append([]string{""}, g.business...) {
					for _, said := range []wish{{}, {session: true}, {attended: true}, {note: true}} {
						for _, by := range []party{referrer, receiver} {
							w := wish{status: status, business: business, session: said.session, attended: said.attended, note: said.note}
							if len(g.invalid(w)) > 0 {
								continue
							}
							a, err := g.move("referrals/x", from, w, []party{by})
							if err != nil || a == 0 {
								continue
							}
							moved++
							steps := route(from, a, by)
							if steps == nil {
								t.Errorf("%s: %s by %s from %s takes %s, which is illegal", g.name, w.words(), by, from, a)
								continue
							}
							to := steps[len(steps)-1].to
							asked := a == requestCancel && status == "cancelled"                                                      // the receiver answers it
							givenUp := a == reject && by == receiver && (status == "cancelled" || status == "failed" && from != sent) // shown as rejected
							if !g.matches(to, w) && (g.name != "SDOHCC" || !asked && !givenUp) {
								t.Errorf("%s: %s by %s from %s leads to %s", g.name, w.words(), by, from, to)
							}
							if !slices.Contains(g.setters(status, business), by) {
								t.Errorf("%s: %s sets %s, which it may not", g.name, by, w.words())
							}
						}
					}
				}
			}
		}
	}
	if moved < 100 {
		t.Errorf("only %d wishes moved anything", moved)
	}
}

// A receiver that gives up under SDOHCC, by either of the guide's words, rejects what it has taken on; before, it only cancels.
func TestReceiverGivesUp(t *testing.T) {
	t.Parallel()
	for _, from := range states() {
		taken := slices.Contains([]state{accepted, waitlisted, scheduled, noShow, sessionCancelled, engaged}, from)
		for status, want := range map[string]bool{"cancelled": taken || from == sent, "failed": taken} {
			a, err := sdohccGuide.move("referrals/x", from, wish{status: status}, []party{receiver})
			if want != (a == reject && err == nil) {
				t.Errorf("%s from %s: got %s, %v", status, from, a, err)
			}
		}
	}
}

func TestWishesAreRefusedInWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		g       guide
		from    state
		w       wish
		parties []party
		want    string
	}{
		{sdohccGuide, sent, wish{status: "accepted"}, []party{referrer}, "PermissionDenied WRONG_PARTY"},
		{sdohccGuide, sent, wish{status: "accepted"}, nil, "PermissionDenied WRONG_PARTY"},
		{sdohccGuide, sent, wish{status: "requested"}, []party{receiver}, "OK"}, // it is that
		{sdohccGuide, accepted, wish{status: "requested"}, []party{referrer}, "FailedPrecondition ILLEGAL_TRANSITION"},
		{sdohccGuide, accepted, wish{status: "requested"}, []party{receiver}, "PermissionDenied WRONG_PARTY"},
		{sdohccGuide, accepted, wish{status: "draft"}, []party{referrer, receiver}, "PermissionDenied WRONG_PARTY"},
		{sdohccGuide, accepted, wish{status: "on-hold"}, []party{receiver}, "FailedPrecondition ILLEGAL_TRANSITION"},
		{sdohccGuide, sent, wish{status: "on-hold"}, []party{receiver}, "FailedPrecondition ILLEGAL_TRANSITION"},
		{sdohccGuide, waitlisted, wish{status: "on-hold"}, []party{receiver}, "OK"}, // it is that
		{sdohccGuide, sent, wish{status: "failed"}, []party{receiver}, "FailedPrecondition ILLEGAL_TRANSITION"},
		{sdohccGuide, accepted, wish{status: "failed"}, []party{referrer}, "PermissionDenied WRONG_PARTY"},
		{sdohccGuide, cancelRequested, wish{status: "failed"}, []party{receiver}, "FailedPrecondition ILLEGAL_TRANSITION"},
		{sdohccGuide, rejected, wish{status: "failed"}, []party{receiver}, "OK"}, // given up, and shown as rejected
		{sdohccGuide, rejected, wish{status: "cancelled"}, []party{receiver}, "OK"},
		{sdohccGuide, rejected, wish{status: "cancelled"}, []party{referrer}, "FailedPrecondition ILLEGAL_TRANSITION"},
		{sdohccGuide, completed, wish{status: "failed"}, []party{receiver}, "FailedPrecondition ILLEGAL_TRANSITION"},
		{bserGuide, accepted, wish{status: "cancelled", business: "6.0"}, []party{receiver}, "FailedPrecondition ILLEGAL_TRANSITION"},
		{sdohccGuide, waitlisted, wish{status: "in-progress"}, []party{receiver}, "FailedPrecondition ILLEGAL_TRANSITION"},
		{sdohccGuide, completed, wish{status: "accepted"}, []party{receiver}, "FailedPrecondition ILLEGAL_TRANSITION"},
		{sdohccGuide, cancelRequested, wish{status: "cancelled"}, []party{referrer}, "OK"}, // it has been asked for
		{bserGuide, sent, wish{status: "in-progress", business: "5.2"}, []party{receiver}, "PermissionDenied WRONG_PARTY"},
		{bserGuide, accepted, wish{status: "in-progress"}, []party{referrer}, "InvalidArgument business_status"}, // not said to be a wish to stop
		{bserGuide, scheduled, wish{status: "in-progress"}, []party{referrer}, "OK"},                             // it is that
		{bserGuide, sent, wish{status: "completed", business: "7.0"}, []party{receiver}, "FailedPrecondition ILLEGAL_TRANSITION"},
		{bserGuide, sent, wish{status: "cancelled", business: "6.0"}, []party{referrer}, "PermissionDenied WRONG_PARTY"},
	} {
		if a, err := c.g.move("referrals/x", c.from, c.w, c.parties); errText(err) != c.want || err == nil && a != 0 {
			t.Errorf("%s: %s from %s by %v: got %s, %v, want %s", c.g.name, c.w.words(), c.from, c.parties, a, err, c.want)
		}
	}
	for _, c := range []struct {
		g guide
		w wish
	}{
		{sdohccGuide, wish{status: "ready"}}, {sdohccGuide, wish{status: "received"}}, {sdohccGuide, wish{status: "accepted", business: "3.0"}},
		{bserGuide, wish{status: "requested"}}, {bserGuide, wish{status: "on-hold"}}, {bserGuide, wish{status: "accepted", business: "5.1.1"}},
		{bserGuide, wish{status: "in-progress", business: "5.3"}},
	} {
		if len(c.g.invalid(c.w)) == 0 {
			t.Errorf("%s takes %s", c.g.name, c.w.words())
		}
	}
	if got := sdohccGuide.options(sent, []party{receiver}); !slices.Equal(got, []string{"accepted", "rejected", "cancelled"}) {
		t.Errorf("a receiver of a sent referral is told that it can set %v", got)
	}
	if got := bserGuide.options(scheduled, []party{referrer}); !slices.Equal(got, []string{"in-progress (5.2)"}) {
		t.Errorf("a referrer of a scheduled referral is told that it can set %v", got)
	}
}
