package referral

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

const (
	messagesAfterEnd = 30 * day  // how long messages can be written once a referral has ended
	unreadFor        = time.Hour // after which an unread message is told by e-mail
)

// messageRow is a row of messages.
type messageRow struct {
	ID         uuid.UUID
	ReferralID uuid.UUID
	OrgID      uuid.UUID
	OwnerOrgID uuid.UUID
	FromOrgID  uuid.UUID
	Actor      string
	Author     string
	Text       []byte
	CreateTime time.Time
	ReadTime   *time.Time
}

const messageColumns = `id, referral_id, org_id, owner_org_id, from_org_id, actor, author, text, create_time, read_time`

func messageName(referral, id uuid.UUID) string {
	return fmt.Sprintf("%s/messages/%s", aip.Name("referrals", referral), id)
}

func messageField(id uuid.UUID) string { return fmt.Sprintf("messages/%s.text", id) }

func (s *server) messageToProto(r *row, m *messageRow) (*referralv1.ReferralMessage, error) {
	text, err := s.open(r, messageField(m.ID), m.Text)
	if err != nil {
		return nil, err
	}
	return &referralv1.ReferralMessage{
		Name: messageName(m.ReferralID, m.ID), Text: text, Author: m.Author, Organization: aip.Name("organizations", m.FromOrgID), Actor: m.Actor,
		CreateTime: timestamp(&m.CreateTime), ReadTime: timestamp(m.ReadTime),
	}, nil
}

// correspondent returns for which side of a referral the caller writes and reads: its organization's.
func correspondent(ctx context.Context, r *row) (party, error) {
	switch org := auth.PrincipalFrom(ctx).OrganizationID(); {
	case org == r.OrgID:
		return referrer, nil
	case r.OwnerOrgID != nil && org == *r.OwnerOrgID:
		return receiver, nil
	}
	return nobody, fault.Denied("WRONG_PARTY", "messages are between the referrer and the owner of %s; your organization is neither", r.name())
}

// shownMessages tells whether the side is shown messages at all: the owner is not once the consent has ended.
func (s *server) shownMessages(r *row, side party) (bool, error) {
	c, err := r.consent()
	return side == referrer || !consentEnded(c, s.clock.Now()), err
}

// The marks of a file in a text: a data URI, the headers of a MIME part, and a long run that is base64 and no words.
var fileMarks = []*regexp.Regexp{
	regexp.MustCompile(`(?i)data:[\w.+-]+/[\w.+-]+(;[\w=.+-]+)*,`),
	regexp.MustCompile(`(?im)^content-(type|transfer-encoding|disposition):`),
	regexp.MustCompile(`[A-Za-z0-9+/=_-]{300,}`),
	regexp.MustCompile(`(?:^|\s)(?:[A-Za-z0-9+/]{60,}\s+){4}`),
	regexp.MustCompile(`(?m)^(%PDF-|\{\\rtf|-----BEGIN )`),
	regexp.MustCompile(`"(contentAttachment|resourceType)"\s*:`),
}

// noFile refuses a text that has a file in it, and says where files go.
func noFile(field, text string) *fault.Violation {
	for _, mark := range fileMarks {
		if mark.MatchString(text) {
			return fault.Field(field, "looks like a file: %s", fault.NoFiles)
		}
	}
	if strings.TrimSpace(text) == "" {
		return fault.Field(field, "is needed: what do you want to say?")
	}
	return nil
}

// notifyMessage has the other side told by e-mail of a message that is still unread in an hour.
func (s *server) notifyMessage(ctx context.Context, tx pgx.Tx, r *row, message, to uuid.UUID) error {
	at := s.clock.Now().Add(unreadFor)
	return s.notifyOf(ctx, tx, noticeArgs{
		Text: noticeMessage, Referral: r.ID, Organization: to, Key: message.String(), About: unreadBy(r.ID, to), NotBefore: &at,
	})
}

// unreadBy is what e-mails of unread messages are about, so that those not yet sent can be taken back.
func unreadBy(referral, org uuid.UUID) string {
	return fmt.Sprintf("%s/messages %s", aip.Name("referrals", referral), aip.Name("organizations", org))
}
