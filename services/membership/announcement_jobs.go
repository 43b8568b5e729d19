package membership

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/mail"
)

const (
	announceEvery  = 2 * time.Second
	announceAtOnce = 200 // members in one transaction
)

type announceArgs struct{}

// Kind names the job.
func (announceArgs) Kind() string { return "membership_announce" }

// addAnnouncementJobs adds the worker and returns the periodic job that queues the e-mails of announcements.
func (s *server) addAnnouncementJobs(w *river.Workers) []*river.PeriodicJob {
	if !s.mail.On() {
		return nil
	}
	river.AddWorker(w, river.WorkFunc(func(ctx context.Context, _ *river.Job[announceArgs]) error {
		for more := true; more; {
			var err error
			if more, err = s.mailAnnouncement(ctx); err != nil {
				return err
			}
		}
		return nil
	}))
	return []*river.PeriodicJob{river.NewPeriodicJob(river.PeriodicInterval(announceEvery), func() (river.JobArgs, *river.InsertOpts) {
		return announceArgs{}, oneAtATime()
	}, &river.PeriodicJobOpts{RunOnStart: true})}
}

// mailAnnouncement queues e-mails of one announcement to some more of its group, and tells whether there may be more to do. Killed
// at any point, the next call goes on where the last transaction ended.
func (s *server) mailAnnouncement(ctx context.Context) (more bool, err error) {
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		now := s.clock.Now()
		var row *announcementRow
		var title string
		b := new(pgx.Batch)
		b.Queue(`SELECT ` + announcementColumns + ` FROM announcements a
			WHERE a.mailing AND NOT EXISTS (SELECT FROM group_seats g WHERE g.group_id = a.group_id AND g.deleted) ORDER BY a.id LIMIT 1 FOR UPDATE SKIP LOCKED`).Query(atMostOne(&row))
		if err := send(ctx, tx, b); err != nil || row == nil {
			return err
		}
		more = true
		if row.ExpireTime != nil && !row.ExpireTime.After(now) {
			_, err := tx.Exec(ctx, `UPDATE announcements SET mailing = false WHERE id = $1`, row.ID)
			return err
		}
		a, err := row.toProto(s.keys)
		if err != nil {
			return err
		}
		var people []*recipientRow
		args := pgx.NamedArgs{"group": row.GroupID, "after": row.MailAfter, "limit": announceAtOnce, "id": row.ID, "made": row.CreateTime}
		b = new(pgx.Batch)
		b.Queue(`SELECT title FROM group_seats WHERE group_id = @group`, args).QueryRow(func(r pgx.Row) error { return r.Scan(&title) })
		b.Queue(`SELECT x.membership_id, `+memberColumns+` FROM members JOIN (
				SELECT id AS membership_id, member_id FROM memberships
				WHERE group_id = @group AND state IN (4, 5) AND id > @after AND create_time <= @made ORDER BY id LIMIT @limit) AS x ON x.member_id = members.id
			ORDER BY x.membership_id`, args).Query(all(&people))
		if err := send(ctx, tx, b); err != nil {
			return err
		}
		b = new(pgx.Batch)
		queued := 0
		for _, p := range people {
			one, err := s.recipient(p, membershipv1.Member_ANNOUNCEMENTS)
			if err == nil && one == nil {
				continue
			}
			if err == nil {
				err = s.queueAnnouncement(b, row, a, title, one, now)
			}
			if err != nil {
				s.log.WarnContext(ctx, "an announcement cannot be sent to a member", "announcement", row.name(), "member", p.name(), "err", err)
				continue
			}
			queued++
		}
		if len(people) > 0 {
			audit.Queue(ctx, b, "members/-")
			args["after"] = people[len(people)-1].MembershipID
		}
		args["queued"], args["mailing"] = queued, len(people) == announceAtOnce
		b.Queue(`UPDATE announcements SET mail_after = @after, emails = emails + @queued, mailing = @mailing WHERE id = @id`, args)
		return send(ctx, tx, b)
	})
	if err != nil {
		return false, fmt.Errorf("queue e-mails of an announcement: %w", err)
	}
	return more, nil
}

// queueAnnouncement queues the e-mail to one member, for the morning if it is her night.
func (s *server) queueAnnouncement(b *pgx.Batch, row *announcementRow, a *membershipv1.Announcement, group string, to *membershipv1.ListRecipientsResponse_Recipient, now time.Time) error {
	lang, title, text, err := s.texts.Write("announcement", to.GetLanguages(), struct{ Alias, Group, Title, Text string }{
		to.GetAlias(), cmp.Or(group, aip.Name("groups", row.GroupID)), a.GetTitle(), a.GetText(),
	})
	if err != nil {
		return err
	}
	if to.GetEmail() == "" {
		return errors.New("there is no address")
	}
	m := mail.Message{
		Key: "announcement " + row.name() + " " + to.GetMember(), Subject: to.GetMember(), About: row.name(), Kind: membershipv1.Member_ANNOUNCEMENTS.String(), To: to.GetEmail(),
		Language: lang, Title: title, Text: text, Unsubscribe: s.publicURL + "/unsubscribe/" + to.GetStopToken(),
	}
	if until, quiet := mail.QuietUntil(to.GetQuietHours().GetStart(), to.GetQuietHours().GetEnd(), now, zoneOf(to.GetTimeZone())); quiet {
		m.NotBefore = until
	}
	if row.ExpireTime != nil {
		m.Expires = *row.ExpireTime
		if !m.NotBefore.Before(m.Expires) { // what ends in the night is told at once
			m.NotBefore = time.Time{}
		}
	}
	return s.mail.Queue(b, m)
}
