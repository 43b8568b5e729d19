package membership

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// StopMessages implements RecipientsService.
func (s *server) StopMessages(ctx context.Context, req *membershipv1.StopMessagesRequest) (*membershipv1.StopMessagesResponse, error) {
	id, kind, err := s.readStopToken(req.GetToken())
	if err != nil {
		return nil, err
	}
	// The token says whose row may be touched.
	ctx = auth.WithTenant(ctx, auth.Tenant{All: true})
	answer := &membershipv1.StopMessagesResponse{Kind: kind}
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		b := new(pgx.Batch)
		row, err := lockMember(ctx, tx, auth.TenantFrom(ctx), id)
		switch {
		case errors.Is(err, pgx.ErrNoRows): // erased: nothing is sent to her
			audit.Queue(ctx, b, aip.Name("members", id))
		case err != nil:
			return fmt.Errorf("lock member: %w", err)
		default:
			if _, err := s.rewriteMember(ctx, b, row, func(m *membershipv1.Member) error {
				if !slices.Contains(m.GetMutedMessages(), kind) {
					m.MutedMessages = append(m.MutedMessages, kind)
				}
				return nil
			}); err != nil {
				return err
			}
		}
		if err := idem.Save(ctx, b, answer); err != nil {
			return err
		}
		return send(ctx, tx, b)
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// stopContext is the associated data of stop tokens, so that nothing else that is sealed can be taken for one.
const stopContext = "cairn stop messages"

// stopToken returns the token with which a member stops messages of a kind. It tells nothing, and is good for ever.
func (s *server) stopToken(member uuid.UUID, kind membershipv1.Member_MessageKind) (string, error) {
	sealed, err := s.keys.Links().Encrypt(append(member[:], byte(kind)), []byte(stopContext))
	if err != nil {
		return "", fmt.Errorf("stop token: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sealed), nil
}

func (s *server) readStopToken(token string) (uuid.UUID, membershipv1.Member_MessageKind, error) {
	broken := fault.Invalid(fault.Field("token", "is not the whole of a link that we have sent"))
	sealed, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return uuid.Nil, 0, broken
	}
	plain, err := s.keys.Links().Decrypt(sealed, []byte(stopContext))
	if err != nil || len(plain) != len(uuid.Nil)+1 {
		return uuid.Nil, 0, broken
	}
	return uuid.UUID(plain[:16]), membershipv1.Member_MessageKind(plain[16]), nil
}
