package membership

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/mail"
	"cairn.care/services/recurrence"
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

// notify tells members by e-mail what has happened to their memberships of a group, if it is of a kind to tell and they allow it.
// What is told is queued with the change.
func (s *server) notify(ctx context.Context, w *work, list []*membershipRow, does action) error {
	text, ok := notices(does)
	if !ok || !s.mail.On() || len(list) == 0 {
		return nil
	}
	ids := make([]uuid.UUID, len(list))
	for i, r := range list {
		ids[i] = r.MemberID
	}
	var title string
	var people []*memberRow
	args := pgx.NamedArgs{"ids": ids, "group": list[0].GroupID}
	b := new(pgx.Batch)
	b.Queue(`SELECT title FROM group_seats WHERE group_id = @group`, args).QueryRow(func(r pgx.Row) error { return r.Scan(&title) })
	b.Queue(`SELECT `+memberColumns+` FROM members WHERE id = ANY(@ids)`, args).Query(all(&people))
	if err := send(ctx, w.tx, b); err != nil {
		return fmt.Errorf("find members: %w", err)
	}
	byID := make(map[uuid.UUID]*memberRow, len(people))
	for _, p := range people {
		byID[p.ID] = p
	}
	for _, r := range list {
		if p := byID[r.MemberID]; p != nil { // who is new in this transaction has still to be asked what she allows
			if err := s.notifyOne(ctx, w, r, p, text, title); err != nil {
				return err
			}
		}
	}
	return nil
}

// notifyOne tells one member.
func (s *server) notifyOne(ctx context.Context, w *work, r *membershipRow, member *memberRow, text, group string) error {
	to, err := s.recipient(&recipientRow{memberRow: *member, MembershipID: r.ID}, membershipv1.Member_PLACES)
	if err != nil || to == nil {
		return err
	}
	audit.Queue(ctx, w.b, to.GetMember())
	zone := zoneOf(to.GetTimeZone())
	data := struct {
		Alias, Group string
		By           time.Time
	}{Alias: to.GetAlias(), Group: cmp.Or(group, "Cairn")}
	m := mail.Message{
		Key: fmt.Sprintf("%s %s %d", text, r.name(), r.Revision), Subject: to.GetMember(), About: r.name(), Kind: membershipv1.Member_PLACES.String(), To: to.GetEmail(),
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
	zone, err := recurrence.Zone(name)
	if err != nil {
		return time.UTC
	}
	return zone
}
