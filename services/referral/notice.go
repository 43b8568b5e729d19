package referral

import (
	"cmp"
	"context"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/mail"
)

//go:embed texts/*.txt
var textFiles embed.FS

// writtenTexts returns the e-mails that the service writes.
func writtenTexts() (*mail.Texts, error) {
	files, err := fs.Sub(textFiles, "texts")
	if err != nil {
		return nil, err
	}
	return mail.NewTexts(files)
}

// The e-mails to organizations. None says anything of the person: they name the referral, and who reads one looks it up.
const (
	noticeSoon    = "due_soon"        // to whoever has to act
	noticeLate    = "overdue"         // to whoever has to act
	noticeNobody  = "nobody_acts"     // to the referrer
	noticeMoved   = "passed_on"       // to the referrer
	noticeTaken   = "taken_away"      // to the owner before
	noticeNew     = "referral_waits"  // to the owner, the first one and every new one
	noticeEnded   = "not_taken"       // to the referrer: declined or failed
	noticeMessage = "message_waits"   // to the other side
	noticeConcern = "concern_waits"   // to the referrer
	noticeConsent = "consent_changed" // to the owner
	noticeLapsed  = "consent_expired" // to the owner
	noticeRenew   = "consent_needed"  // to the referrer
)

// noticeArgs asks for an e-mail to an organization.
type noticeArgs struct {
	Text         string     `json:"text"`
	Referral     uuid.UUID  `json:"referral"`
	Organization uuid.UUID  `json:"organization"`
	Key          string     `json:"key"` // what makes it another than the last of its kind
	Due          *time.Time `json:"due,omitempty"`
	About        string     `json:"about,omitempty"` // by which it can be taken back; empty: the referral
	NotBefore    *time.Time `json:"notBefore,omitempty"`
}

// Kind names the job.
func (noticeArgs) Kind() string { return "referral_notice" }

// notify has an organization told by e-mail of what the transaction does to a referral, once it is committed.
func (s *server) notify(ctx context.Context, tx pgx.Tx, r *row, text string, org uuid.UUID) error {
	return s.notifyOf(ctx, tx, noticeArgs{Text: text, Referral: r.ID, Organization: org, Key: fmt.Sprint(r.Revision), Due: r.DueTime})
}

func (s *server) notifyOf(ctx context.Context, tx pgx.Tx, args noticeArgs) error {
	if !s.mail.On() {
		return nil
	}
	if _, err := s.jobs().InsertTx(ctx, tx, args, nil); err != nil {
		return fmt.Errorf("enqueue e-mail: %w", err)
	}
	return nil
}

// tellWhoActs tells the organization that has to act next; nobody where any may claim the referral.
func (s *server) tellWhoActs(ctx context.Context, tx pgx.Tx, c *change, text string) error {
	switch r := c.row; {
	case r.Awaiting == referrer:
		return s.notify(ctx, tx, r, text, r.OrgID)
	case r.Awaiting == receiver && r.OwnerOrgID != nil:
		return s.notify(ctx, tx, r, text, *r.OwnerOrgID)
	}
	return nil
}

// tellAsked tells the organization that a referral is sent to; nobody of a draft, nor where any may claim it.
func (s *server) tellAsked(ctx context.Context, tx pgx.Tx, r *row) error {
	if r.State != sent || r.OwnerOrgID == nil {
		return nil
	}
	return s.notify(ctx, tx, r, noticeNew, *r.OwnerOrgID)
}

// write queues the e-mail that is asked for, in the organization's language and time.
func (s *server) write(ctx context.Context, args noticeArgs) error {
	if !s.mail.On() {
		return nil
	}
	org, err := s.organization(ctx, args.Organization)
	if status.Code(err) == codes.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if args.Text == noticeMessage {
		if unread, err := s.unread(ctx, args); err != nil || !unread {
			return err
		}
	}
	name := aip.Name("referrals", args.Referral)
	address := org.GetContact().GetEmail()
	if address == "" {
		s.log.WarnContext(ctx, "an organization cannot be told of a referral: it has no e-mail address", "organization", org.GetName(), "referral", name)
		return nil
	}
	zone, err := time.LoadLocation(org.GetTimeZone())
	if err != nil {
		zone = time.UTC
	}
	data := struct {
		Name string
		Due  *time.Time
	}{Name: name}
	if args.Due != nil {
		due := args.Due.In(zone)
		data.Due = &due
	}
	lang, title, text, err := s.texts.Write(args.Text, org.GetLanguages(), data)
	if err != nil {
		return err
	}
	m := mail.Message{
		Key:     fmt.Sprintf("%s %s %s %s", args.Text, name, args.Key, org.GetName()),
		Subject: org.GetName(), About: cmp.Or(args.About, name), To: address, Language: lang, Title: title, Text: text,
	}
	if args.NotBefore != nil {
		m.NotBefore = *args.NotBefore
	}
	return s.db.Tx(ctx, func(tx pgx.Tx) error { return s.mail.Insert(ctx, tx, m) })
}

// unread tells whether an organization has a message that it has not read.
func (s *server) unread(ctx context.Context, args noticeArgs) (yes bool, err error) {
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM referrals WHERE id = @id
			AND (org_id = @org AND unread_referrer > 0 OR owner_org_id = @org AND unread_receiver > 0))`,
			pgx.NamedArgs{"id": args.Referral, "org": args.Organization}).Scan(&yes)
	})
	return yes, err
}
