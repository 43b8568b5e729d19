package membership

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/mail"
)

// noticeRetry is how long a notice waits that could not be written, because a peer was out of reach.
const noticeRetry = 15 * time.Second

// reader is somebody who is told by e-mail of a concern.
type reader struct {
	name      string // "facilitators/…" or "organizations/…"
	email     string
	languages []string
}

// tellSoon has those who act on a concern told of it, if e-mail is sent at all.
func (s *server) tellSoon(r *concernRow) {
	if s.mail.On() {
		now := s.clock.Now()
		r.NotifyTime = &now
	}
}

// tellThoseWhoAct queues e-mails to those who have to act on concerns that are new to them.
func (s *server) tellThoseWhoAct(ctx context.Context) error {
	return s.sweep(ctx, "tell of concern", func(tx pgx.Tx, skip []uuid.UUID) ([]item, error) {
		if !s.mail.On() {
			return nil, nil
		}
		now := s.clock.Now()
		rows, err := tx.Query(ctx, `UPDATE safety_concerns c SET notify_time = @retry WHERE id IN (
				SELECT id FROM safety_concerns WHERE notify_time <= @now AND NOT id = ANY(@skip) ORDER BY notify_time LIMIT @n FOR UPDATE SKIP LOCKED)
			RETURNING `+concernColumns, pgx.NamedArgs{"now": now, "retry": now.Add(noticeRetry), "skip": skip, "n": sweepAtOnce})
		if err != nil {
			return nil, err
		}
		found, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[concernRow])
		items := make([]item, len(found))
		for i, r := range found {
			items[i] = item{id: r.ID, do: func(ctx context.Context) error { return s.tellOf(ctx, r) }}
		}
		return items, err
	})
}

// tellOf queues the e-mails of one concern, unless it has been passed on or closed meanwhile.
func (s *server) tellOf(ctx context.Context, r *concernRow) error {
	org, err := s.organizations.GetOrganization(ctx, &partnersv1.GetOrganizationRequest{Name: aip.Name("organizations", r.OrgID)})
	if err != nil {
		return fmt.Errorf("get organization: %w", err)
	}
	readers, err := s.readersOf(ctx, r, org)
	if err != nil {
		return err
	}
	if len(readers) == 0 {
		s.log.WarnContext(ctx, "nobody can be told of a safety concern: neither those who act nor the organization have an e-mail address", "concern", r.name())
	}
	zone, err := time.LoadLocation(org.GetTimeZone())
	if err != nil {
		zone = time.UTC
	}
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE safety_concerns SET notify_time = NULL WHERE id = @id AND state <> 3 AND escalations = @escalations`,
			pgx.NamedArgs{"id": r.ID, "escalations": r.Escalations})
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		for _, to := range readers {
			lang, title, text, err := s.texts.Write("safety_concern", to.languages, map[string]any{
				"Name": r.name(), "Due": r.DueTime.In(zone), "Urgent": r.Severity == membershipv1.SafetyConcern_URGENT,
			})
			if err != nil {
				return err
			}
			if err := s.mail.Insert(ctx, tx, mail.Message{
				Key:     fmt.Sprintf("concern %s %d %s", r.name(), r.Escalations, to.name),
				Subject: to.name, To: to.email, Language: lang, Title: title, Text: text,
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// readersOf returns who is told: those who act as far as they have addresses; the organization if it is for a coordinator to act,
// if it is urgent, or if nobody else can be told.
func (s *server) readersOf(ctx context.Context, r *concernRow, org *partnersv1.Organization) ([]reader, error) {
	var there []lead
	if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		there, err = findLeads(ctx, tx, r.GroupID)
		return err
	}); err != nil {
		return nil, err
	}
	var all []reader
	for _, l := range there {
		if actsAs(l.Role) != r.actor() {
			continue
		}
		f, err := s.groups.GetFacilitator(ctx, &groupsv1.GetFacilitatorRequest{Name: aip.Name("facilitators", l.Facilitator)})
		if status.Code(err) == codes.NotFound || err == nil && f.GetEmail() == "" {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("get facilitator: %w", err)
		}
		all = append(all, reader{f.GetName(), f.GetEmail(), f.GetLanguages()})
	}
	if address := org.GetContact().GetEmail(); address != "" &&
		(len(all) == 0 || r.actor() == byCoordinator || r.Severity == membershipv1.SafetyConcern_URGENT) {
		all = append(all, reader{org.GetName(), address, org.GetLanguages()})
	}
	return all, nil
}
