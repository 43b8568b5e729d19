package groups

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/protoadapt"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// GetGroup reads a group in one round trip.
func (s *server) GetGroup(ctx context.Context, req *groupsv1.GetGroupRequest) (*groupsv1.Group, error) {
	id, err := aip.ParseName("name", "groups", req.GetName())
	if err != nil {
		return nil, err
	}
	t := insider(ctx)
	var r groupRow
	b := s.db.Batch(ctx)
	b.Queue(selectGroup, id, t.Org, t.All).QueryRow(r.scan)
	if err := s.db.Send(ctx, b); errors.Is(err, pgx.ErrNoRows) {
		return nil, s.goneGroup(ctx, id)
	} else if err != nil {
		return nil, fmt.Errorf("read group: %w", err)
	}
	return r.toProto(s.clock.Now())
}

// goneGroup returns NOT_FOUND; of a group that was public until it was merged, with the name of the one that people find instead.
func (s *server) goneGroup(ctx context.Context, id uuid.UUID) error {
	name := aip.Name("groups", id)
	var instead *uuid.UUID
	b := s.db.Batch(auth.WithTenant(ctx, auth.Tenant{}))
	b.Queue(`
		WITH RECURSIVE up AS (
			SELECT g.id, g.merged_into FROM groups g WHERE g.id = @id AND g.state IN (2, 3) AND g.delete_time IS NULL
			UNION
			SELECT g.id, g.merged_into FROM up JOIN groups g ON g.id = up.merged_into WHERE g.state IN (2, 3) AND g.delete_time IS NULL
		)
		SELECT (SELECT id FROM up WHERE merged_into IS NULL AND id <> @id)`, pgx.NamedArgs{"id": id}).QueryRow(func(row pgx.Row) error {
		return row.Scan(&instead)
	})
	if err := s.db.Send(ctx, b); err != nil {
		return fmt.Errorf("look for the survivor of a group: %w", err)
	}
	if instead == nil {
		return fault.NotFound(name)
	}
	survivor := aip.Name("groups", *instead)
	return &fault.Error{
		Code: codes.NotFound, Reason: "GROUP_MERGED", Message: name + " is the same group as " + survivor + ": read that one",
		Metadata: map[string]string{"merged_into": survivor},
		Details:  []protoadapt.MessageV1{&errdetails.ResourceInfo{ResourceName: name}},
	}
}
