package membership

import (
	"testing"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
)

// TestStateTable states every pair of state and action: the state that follows, or a dash where it is refused.
func TestStateTable(t *testing.T) {
	t.Parallel()
	const no = membershipv1.Membership_State(-1)
	actions := []action{request, screen, wait, offer, seat, decline, acknowledge, reaffirm, ask, startLeave, endLeave, end}
	table := map[membershipv1.Membership_State][]membershipv1.Membership_State{
		//          request    screen      wait        offer    seat      decline   acknowledge reaffirm ask  startLeave endLeave end
		0:          {requested, no, waitlisted, no, approved, no, no, no, no, no, no, no},
		requested:  {no, requested, waitlisted, no, approved, declined, no, no, no, no, no, ended},
		waitlisted: {no, waitlisted, no, offered, no, declined, no, no, no, no, no, ended},
		offered:    {no, offered, waitlisted, no, approved, declined, no, no, no, no, active, ended},
		approved:   {no, approved, no, no, no, no, active, no, no, no, no, ended},
		active:     {no, no, no, no, no, no, no, active, active, onLeave, no, ended},
		onLeave:    {no, no, waitlisted, no, no, no, no, onLeave, onLeave, no, active, ended},
		ended:      {no, no, no, no, no, no, no, no, no, no, no, no},
		declined:   {no, no, no, no, no, no, no, no, no, no, no, no},
	}
	if got, want := len(table), len(membershipv1.Membership_State_name); got != want {
		t.Fatalf("the table has %d states, the contract %d", got, want)
	}
	for from, row := range table {
		for i, want := range row {
			got, ok := next(from, actions[i])
			if !ok {
				got = no
			}
			if got != want {
				t.Errorf("%v %s: got %v, want %v", from, actions[i], got, want)
			}
		}
	}
	if _, ok := next(requested, "vanished"); ok {
		t.Error("an unknown action was let happen")
	}
}

func TestSeatsAndOpenness(t *testing.T) {
	t.Parallel()
	for s, want := range map[membershipv1.Membership_State][2]bool{ // holds a seat, is open
		0: {false, false}, requested: {false, true}, waitlisted: {false, true}, offered: {true, true}, approved: {true, true},
		active: {true, true}, onLeave: {true, true}, ended: {false, false}, declined: {false, false},
	} {
		if got := [2]bool{(&membershipRow{State: s}).holdsSeat(), isOpen(s)}; got != want {
			t.Errorf("%v: holds a seat, is open = %v, want %v", s, got, want)
		}
	}
	if (&membershipRow{State: onLeave, SeatFreed: true}).holdsSeat() {
		t.Error("a leave that freed the seat holds it")
	}
}
