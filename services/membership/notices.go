package membership

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/mail"
)

// notices are the texts that tell a member what has happened to her membership.
func notices(does action) (text string, ok bool) {
	switch does {
	case offer:
		return "seat_offered", true
	case seat:
		return "seat_taken", true
	case ask:
		return "guidelines_asked", true
	}
	return "", false
}

// notify tells a member by e-mail what has happened to her membership, if it is of a kind to tell and she allows it. What is
// told is queued with the change.
func (s *server) notify(ctx context.Context, w *work, r *membershipRow, does action) error {
	text, ok := notices(does)
	if !ok || !s.mail.On() {
		return nil
	}
	type reader struct {
		memberRow
		Title string // of the group
	}
	rows, err := w.tx.Query(ctx, `SELECT `+memberColumns+`, (SELECT title FROM group_seats WHERE group_id = @group) AS title FROM members WHERE id = @id`,
		pgx.NamedArgs{"id": r.MemberID, "group": r.GroupID})
	if err != nil {
		return fmt.Errorf("find member: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[reader])
	if err != nil || len(all) == 0 { // a member who is new in this transaction has still to be asked what she allows
		return err
	}
	to, err := s.recipient(&recipientRow{memberRow: all[0].memberRow, MembershipID: r.ID}, membershipv1.Member_PLACES)
	if err != nil || to == nil {
		return err
	}
	audit.Queue(ctx, w.b, to.GetMember())
	zone := zoneOf(to.GetTimeZone())
	data := struct {
		Alias, Group string
		By           time.Time
	}{Alias: to.GetAlias(), Group: cmp.Or(all[0].Title, "Cairn")}
	m := mail.Message{
		Key: fmt.Sprintf("%s %s %d", text, r.name(), r.Revision), Subject: to.GetMember(), To: to.GetEmail(),
		Unsubscribe: s.publicURL + "/unsubscribe/" + to.GetStopToken(),
	}
	if until, quiet := mail.QuietUntil(to.GetQuietHours().GetStart(), to.GetQuietHours().GetEnd(), w.now, zone); quiet {
		m.NotBefore = until
	}
	if r.OfferExpireTime != nil {
		data.By = r.OfferExpireTime.In(zone)
		m.Expires = *r.OfferExpireTime
		if !m.NotBefore.Before(m.Expires) { // an offer that ends in the night is told at once
			m.NotBefore = time.Time{}
		}
	}
	if m.Language, m.Title, m.Text, err = s.texts.Write(text, to.GetLanguages(), data); err != nil {
		return err
	}
	return s.mail.Queue(w.b, m)
}

// zoneOf is the zone of a name, UTC if there is none.
func zoneOf(name string) *time.Location {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return time.UTC
	}
	return zone
}
