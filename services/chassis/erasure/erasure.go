// Package erasure has every service erase what it holds about a person, once the membership service asks for it.
//
// What the chassis itself keeps goes in the same transaction: answers kept for repeated calls, and e-mail to her that is not sent
// yet. The audit log stays: it says who did what to which resource, and nothing of the person.
package erasure

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/chassis/mail"
)

// Requested is the event that has services erase a person.
const Requested = "care.cairn.membership.erasure.requested.v1"

// Acknowledged returns the event by which a service says that it has.
func Acknowledged(service string) string {
	return "care.cairn." + service + ".erasure.acknowledged.v1"
}

// Erase empties or deletes what a service holds about a person, and returns how many records that were. It may be asked again.
type Erase func(ctx context.Context, tx pgx.Tx, e *membershipv1.ErasureRequested) (records int64, err error)

// Subscription erases what a service holds about a person and acknowledges it, in one transaction. A service that holds nothing
// about members has no Erase.
func Subscription(service string, c clock.Clock, erase Erase) events.Subscription {
	return events.Subscription{Name: service + "-erasure", Source: "membership", Handlers: map[string]events.Handler{
		Requested: func(_ context.Context, e *events.Received) (events.Write, error) {
			var asked membershipv1.ErasureRequested
			if err := e.Decode(&asked); err != nil {
				return nil, events.Poison(err)
			}
			return func(ctx context.Context, tx pgx.Tx) error {
				var records int64
				var err error
				if erase != nil {
					if records, err = erase(ctx, tx, &asked); err != nil {
						return err
					}
				}
				b := new(pgx.Batch)
				Forget(b, &asked, c)
				if err := events.Queue(ctx, b, events.Event{
					Type: Acknowledged(service), Subject: asked.GetErasure(), Revision: 1,
					Data: &membershipv1.ErasureAcknowledged{
						Erasure: asked.GetErasure(), Service: service, Records: records, FinishTime: timestamppb.New(c.Now()),
					},
				}); err != nil {
					return err
				}
				audit.Queue(ctx, b, asked.GetMember())
				if err := tx.SendBatch(ctx, b).Close(); err != nil {
					return fmt.Errorf("erase %s: %w", asked.GetMember(), err)
				}
				return nil
			}, nil
		},
	}}
}

// Forget queues that what the chassis keeps of a person goes.
func Forget(b *pgx.Batch, e *membershipv1.ErasureRequested, c clock.Clock) {
	idem.Forget(b, append(append([]string{e.GetMember()}, e.GetMemberships()...), e.GetReferrals()...))
	mail.Forget(b, e.GetMember(), c.Now())
}
