package partners

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/events"
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

// stop pauses a locked subscription and tells its organization, by an event and by e-mail.
func (s *service) stop(ctx context.Context, tx pgx.Tx, sub *webhookRow, why partnersv1.WebhookSubscription_PauseReason) error {
	now := s.clock.Now()
	sub.pause(why)
	sub.Revision++
	if err := writeWebhook(ctx, tx, sub); err != nil {
		return fmt.Errorf("pause subscription: %w", err)
	}
	if err := events.Insert(ctx, tx, webhookChanged("paused", sub, now)); err != nil {
		return err
	}
	row, err := selectOrganization(ctx, tx, sub.OrgID)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("get organization: %w", err)
	}
	org, err := row.toProto()
	if err != nil || org.GetContact().GetEmail() == "" {
		return err
	}
	lang, title, text, err := s.texts.Write("webhook_paused", org.GetLanguages(), map[string]any{
		"Organization": org.GetDisplayName(), "Webhook": sub.label(), "URL": sub.URL, "Failure": sub.LastFailure, "Name": sub.name(),
		"Gone": why == partnersv1.WebhookSubscription_GONE,
	})
	if err != nil {
		return err
	}
	return s.mail.Insert(ctx, tx, mail.Message{
		Key: fmt.Sprintf("webhook paused %s %d", sub.name(), sub.Revision), About: sub.name(), To: org.GetContact().GetEmail(),
		Language: lang, Title: title, Text: text,
	})
}

// label is what people call a subscription.
func (r *webhookRow) label() string {
	if r.DisplayName != "" {
		return r.DisplayName
	}
	return r.name()
}
