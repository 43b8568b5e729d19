package membership

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/mail"
)

// unsent returns whom the e-mails are to that are still to be sent.
func (f *fixture) unsent() []string {
	f.t.Helper()
	return column[string](f, `SELECT subject FROM mail WHERE next_time IS NOT NULL ORDER BY subject`)
}

// offeredSeats is a group with people who have each just been offered a seat by e-mail.
func (f *fixture) offeredSeats(n int) (g *told, people []*membershipv1.Membership) {
	f.t.Helper()
	f.mail, f.publicURL = mail.NewOutbox("membership", f.keys, f.clock), "https://cairn.test"
	g = f.newGroup(1, true)
	f.joinActively(g)
	for range n {
		who := f.person(&membershipv1.Member{Role: membershipv1.Member_SURVIVOR, Email: "wren@example.org", Consents: []*membershipv1.Member_Consent{{Kind: membershipv1.Member_RECEIVE_MESSAGES, Version: "1"}}})
		m, err := f.ask(f.ctx(), g, who)
		if err == nil {
			m, err = f.ApproveMembership(f.ctx(), &membershipv1.ApproveMembershipRequest{Name: m.GetName()})
		}
		if err != nil {
			f.t.Fatal(err)
		}
		people = append(people, m)
	}
	g.Seats = int32(1 + n)
	f.tell(g)
	if got := f.unsent(); len(got) != n {
		f.t.Fatalf("e-mails to %v, want one of the offer to each of %d", got, n)
	}
	return g, people
}

// What waits to be sent is not sent to who wants it no more, however she says so.
func TestUnwantedMailIsTakenBack(t *testing.T) {
	t.Parallel()
	f := setup(t)
	_, people := f.offeredSeats(6)
	token, err := f.stopToken(idOf(people[0].GetMember()), membershipv1.Member_PLACES)
	f.must(err)
	_, err = f.StopMessages(t.Context(), &membershipv1.StopMessagesRequest{Token: token})
	f.must(err)
	_, err = f.WithdrawConsent(f.ctx(), &membershipv1.WithdrawConsentRequest{Name: people[1].GetMember(), Kind: membershipv1.Member_RECEIVE_MESSAGES})
	f.must(err)
	update := func(m *membershipv1.Member, path string) {
		t.Helper()
		_, err := f.UpdateMember(f.ctx(), &membershipv1.UpdateMemberRequest{Member: m, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{path}}})
		f.must(err)
	}
	update(&membershipv1.Member{Name: people[2].GetMember(), DoNotContact: true}, "do_not_contact")
	update(&membershipv1.Member{Name: people[3].GetMember(), MutedMessages: []membershipv1.Member_MessageKind{membershipv1.Member_PLACES}}, "muted_messages")
	update(&membershipv1.Member{Name: people[4].GetMember(), MutedMessages: []membershipv1.Member_MessageKind{membershipv1.Member_ANNOUNCEMENTS}}, "muted_messages")
	update(&membershipv1.Member{Name: people[5].GetMember()}, "email")
	if got := f.unsent(); !slices.Equal(got, []string{people[4].GetMember()}) {
		t.Errorf("e-mails to %v are still to be sent; want that to who stopped another kind, %s", got, people[4].GetMember())
	}
	for i, want := range []string{`"mutedMessages":["PLACES"]`, `"noMessages":true`, `"doNotContact":true`} {
		said := column[string](f, `SELECT data::text FROM outbox WHERE type = 'care.cairn.membership.member.updated.v1' AND subject = $1`, people[i].GetMember())
		if len(said) != 1 || !strings.Contains(strings.ReplaceAll(said[0], " ", ""), want) {
			t.Errorf("others are told %q, want %s", said, want)
		}
	}
}

// The e-mail of an offer does not outlive it.
func TestOfferMailEndsWithTheOffer(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g, people := f.offeredSeats(5)
	_, err := f.DeclineOffer(f.ctx(), &membershipv1.DeclineOfferRequest{Name: people[0].GetName()})
	f.must(err)
	_, err = f.EndMembership(f.ctx(), &membershipv1.EndMembershipRequest{Name: people[1].GetName(), Reason: membershipv1.Membership_MOVED_ON})
	f.must(err)
	_, err = f.AcceptOffer(f.ctx(), &membershipv1.AcceptOfferRequest{Name: people[2].GetName()})
	f.must(err)
	if got, want := f.unsent(), sorted(people[2].GetMember(), people[3].GetMember(), people[4].GetMember()); !slices.Equal(got, want) {
		t.Errorf("e-mails to %v are still to be sent, want to %v: who accepted is told that she has the seat", got, want)
	}
	g.State, g.AcceptsIntake = groupsv1.Group_ARCHIVED, false
	f.tell(g)
	if got := f.unsent(); len(got) != 0 {
		t.Errorf("e-mails of places in an archived group to %v are still to be sent", got)
	}
}

// Nor where nobody answered it, though it could not be sent while it stood.
func TestOfferMailEndsWhenNobodyAnswered(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g, people := f.offeredSeats(1)
	g.AcceptsIntake = false // or the seat would be offered to her anew
	f.tell(g)
	for i := range offersUnanswered {
		f.clock.Advance(offerDuration)
		_, err := f.AcceptOffer(f.ctx(), &membershipv1.AcceptOfferRequest{Name: people[0].GetName()})
		want := "at the end of the waitlist"
		if i == offersUnanswered-1 {
			want = "will be ended"
		}
		if reasonOf(err) != "FailedPrecondition OFFER_EXPIRED" || !strings.Contains(err.Error(), want) {
			t.Errorf("offer %d: %v, want that it says %q", i+1, err, want)
		}
		if i == 0 {
			f.must(f.expireOffers(f.system()))
			if got := f.unsent(); len(got) != 0 {
				t.Errorf("offers to %v are still to be sent after their end", got)
			}
			g.AcceptsIntake = true
			f.tell(g)
			continue
		}
		f.must(f.expireOffers(f.system()))
	}
	if got := f.get(people[0].GetName()); got.GetEndReason() != membershipv1.Membership_OFFERS_UNANSWERED {
		t.Errorf("after %d offers: %v", offersUnanswered, got)
	}
}

func sorted(list ...string) []string {
	slices.Sort(list)
	return list
}

// An announcement waits for the morning of who is asleep, and one whose record cannot be read keeps nobody else from it.
func TestAnnouncementsLeaveTheNightInPeace(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g, lead := f.led(0)
	awake := func(m *membershipv1.Member) { m.TimeZone = "UTC" } // where it is noon
	broken, wren := f.reachable(g, "broken", awake), f.reachable(g, "wren", awake)
	lark := f.reachable(g, "lark", func(m *membershipv1.Member) { m.TimeZone = "Pacific/Auckland" }) // where it is 01:00
	f.mail, f.publicURL = mail.NewOutbox("membership", f.keys, f.clock), "https://cairn.test"
	f.must(f.db.Tx(f.system(), func(tx pgx.Tx) error {
		_, err := tx.Exec(f.system(), `UPDATE members SET personal = '\x00' WHERE id = $1`, idOf(broken.GetMember()))
		return err
	}))
	_, err := f.CreateAnnouncement(f.facilitatorCalls(lead), &membershipv1.CreateAnnouncementRequest{Parent: g.GetGroup(), Announcement: &membershipv1.Announcement{
		Title: "Rain", Text: "Indoors.", Delivery: membershipv1.Announcement_APP_AND_EMAIL,
	}})
	f.must(err)
	for more, looks := true, 0; more; looks++ {
		if more, err = f.mailAnnouncement(auth.System(t.Context(), service)); err != nil || looks > 10 {
			t.Fatalf("look %d: %v", looks, errors.Join(err))
		}
	}
	now := f.clock.Now()
	for who, want := range map[string][]time.Time{
		wren.GetMember(): {now}, lark.GetMember(): {time.Date(2026, 3, 1, 18, 30, 0, 0, time.UTC)}, broken.GetMember(): nil,
	} {
		got := column[time.Time](f, `SELECT not_before FROM mail WHERE subject = $1`, who)
		if !slices.EqualFunc(got, want, time.Time.Equal) {
			t.Errorf("e-mails to %s at %v, want %v", who, got, want)
		}
	}
}
