package membership

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/mail"
)

// tellMatch tells the two of a match by e-mail, as far as they allow it, that it is proposed, to those who have not accepted
// it, or that both have accepted it. What is told is queued with the change.
func (s *server) tellMatch(ctx context.Context, tx pgx.Tx, b *pgx.Batch, r *matchRow, text string, now time.Time) error {
	if !s.mail.On() {
		return nil
	}
	type reader struct {
		memberRow
		Title string // of the group
	}
	rows, err := tx.Query(ctx, `SELECT `+memberColumns+`, (SELECT title FROM group_seats WHERE group_id = @group) AS title FROM members WHERE id = ANY(@two) ORDER BY id`,
		pgx.NamedArgs{"two": []uuid.UUID{r.MenteeMember, r.SupporterMember}, "group": r.GroupID})
	if err != nil {
		return fmt.Errorf("find the two: %w", err)
	}
	two, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[reader])
	if err != nil {
		return fmt.Errorf("find the two: %w", err)
	}
	for _, one := range two {
		supports := one.ID == r.SupporterMember
		membership, other, accepted := r.MenteeID, r.SupporterAlias, r.MenteeAcceptTime
		if supports {
			membership, other, accepted = r.SupporterID, r.MenteeAlias, r.SupporterAcceptTime
		}
		if r.State == matchProposed && accepted != nil {
			continue
		}
		to, err := s.recipient(&recipientRow{memberRow: one.memberRow, MembershipID: membership}, membershipv1.Member_PEER_MATCHES)
		if err != nil {
			return err
		}
		if to == nil {
			continue
		}
		audit.Queue(ctx, b, to.GetMember())
		zone := zoneOf(to.GetTimeZone())
		m := mail.Message{
			Key: fmt.Sprintf("%s %s %s", text, r.name(), to.GetMember()), Subject: to.GetMember(), About: r.name(), Kind: membershipv1.Member_PEER_MATCHES.String(), To: to.GetEmail(),
			Unsubscribe: s.publicURL + "/unsubscribe/" + to.GetStopToken(),
		}
		if until, quiet := mail.QuietUntil(to.GetQuietHours().GetStart(), to.GetQuietHours().GetEnd(), now, zone); quiet {
			m.NotBefore = until
		}
		if m.Language, m.Title, m.Text, err = s.texts.Write(text, to.GetLanguages(), struct {
			Alias, Other, Group string
			Supports            bool
			By                  time.Time
		}{to.GetAlias(), other, one.Title, supports, r.ExpireTime.In(zone)}); err != nil {
			return err
		}
		if err := s.mail.Queue(b, m); err != nil {
			return err
		}
	}
	return nil
}
