package groups

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/pg"
)

// facilitatorRow is a row of the table facilitators; the columns that only filters use are left out.
type facilitatorRow struct {
	ID         uuid.UUID
	OrgID      uuid.UUID
	Revision   int64
	Body       []byte
	CreateTime time.Time
	UpdateTime time.Time
	Email      []byte // encrypted; nil when not known
}

const facilitatorColumns = `f.id, f.org_id, f.revision, f.body, f.create_time, f.update_time, f.email`

func (r *facilitatorRow) scan(row pgx.Row) error {
	return row.Scan(&r.ID, &r.OrgID, &r.Revision, &r.Body, &r.CreateTime, &r.UpdateTime, &r.Email)
}

// toProto returns the facilitator of a row, without her address.
func (r *facilitatorRow) toProto() (*groupsv1.Facilitator, error) {
	f := &groupsv1.Facilitator{}
	if err := proto.Unmarshal(r.Body, f); err != nil {
		return nil, fmt.Errorf("decode facilitator %s: %w", r.ID, err)
	}
	r.into(f)
	return f, nil
}

// toFullProto returns the facilitator of a row with her address.
func (r *facilitatorRow) toFullProto(keys *crypt.Keyset) (*groupsv1.Facilitator, error) {
	f, err := r.toProto()
	if err != nil || r.Email == nil {
		return f, err
	}
	f.Email, err = crypt.OpenString(keys.AEAD(), f.GetName(), "email", r.Email)
	return f, err
}

// seal keeps a facilitator's address.
func (r *facilitatorRow) seal(keys *crypt.Keyset, email string) (err error) {
	r.Email = nil
	if email != "" {
		r.Email, err = crypt.SealString(keys.AEAD(), aip.Name("facilitators", r.ID), "email", email)
	}
	return err
}

// into sets the fields that the columns hold.
func (r *facilitatorRow) into(f *groupsv1.Facilitator) {
	f.Name = aip.Name("facilitators", r.ID)
	f.Organization = aip.Name("organizations", r.OrgID)
	f.CreateTime, f.UpdateTime = timestamppb.New(r.CreateTime), timestamppb.New(r.UpdateTime)
	f.Etag = aip.ETag(r.Revision)
}

// writtenFacilitator returns a copy without what the columns hold, her address for one.
func writtenFacilitator(f *groupsv1.Facilitator) *groupsv1.Facilitator {
	w := proto.CloneOf(f)
	w.Name, w.Organization, w.Etag, w.CreateTime, w.UpdateTime, w.Email = "", "", "", nil, nil, ""
	return w
}

const selectFacilitator = `SELECT ` + facilitatorColumns + ` FROM facilitators f WHERE f.id = @id AND (@all OR f.org_id = @org)`

// lockFacilitator reads the tenant's facilitator and keeps others from changing her until the transaction ends.
func lockFacilitator(ctx context.Context, tx pg.Querier, id uuid.UUID) (r facilitatorRow, err error) {
	t := auth.TenantFrom(ctx)
	err = r.scan(tx.QueryRow(ctx, selectFacilitator+` FOR UPDATE`, pgx.NamedArgs{"id": id, "org": t.Org, "all": t.All}))
	if errors.Is(err, pgx.ErrNoRows) {
		return r, fault.NotFound(aip.Name("facilitators", id))
	}
	if err != nil {
		return r, fmt.Errorf("lock facilitator: %w", err)
	}
	return r, nil
}

// lockTherapyGroups keeps others from changing the published therapy groups of a facilitator until the transaction ends.
func lockTherapyGroups(ctx context.Context, tx pg.Querier, facilitator uuid.UUID) ([]uuid.UUID, error) {
	rows, err := tx.Query(ctx, `
		SELECT g.id FROM groups g
		WHERE g.kind = 2 AND g.state = 2 AND g.delete_time IS NULL
		  AND g.id IN (SELECT r.group_id FROM group_facilitators r WHERE r.facilitator_id = @facilitator)
		ORDER BY g.id FOR UPDATE OF g`, pgx.NamedArgs{"facilitator": facilitator})
	if err != nil {
		return nil, fmt.Errorf("lock groups of facilitator: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("lock groups of facilitator: %w", err)
	}
	return ids, nil
}

// queueSaveFacilitator queues the insert of a facilitator, or the change of a locked one.
func queueSaveFacilitator(b *pgx.Batch, r *facilitatorRow, f *groupsv1.Facilitator) error {
	body, err := proto.Marshal(writtenFacilitator(f))
	if err != nil {
		return fmt.Errorf("encode facilitator: %w", err)
	}
	args := pgx.NamedArgs{
		"id": r.ID, "org": r.OrgID, "revision": r.Revision, "display_name": f.GetDisplayName(), "languages": orEmpty(f.GetLanguages()),
		"lived_experience": len(f.GetLivedExperience()) > 0, "expire_date": nil, "verified": f.GetLicence().GetVerifyTime() != nil,
		"body": body, "create_time": r.CreateTime, "update_time": r.UpdateTime, "email": r.Email,
	}
	if d := f.GetLicence().GetExpireDate(); d != nil {
		args["expire_date"] = dateTime(d)
	}
	b.Queue(`
		INSERT INTO facilitators (id, org_id, revision, display_name, languages, lived_experience, licence_expire_date, licence_verified, body, create_time, update_time, email)
		VALUES (@id, @org, @revision, @display_name, @languages, @lived_experience, @expire_date::date, @verified, @body, @create_time, @update_time, @email)
		ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, display_name = excluded.display_name, languages = excluded.languages,
			lived_experience = excluded.lived_experience, licence_expire_date = excluded.licence_expire_date,
			licence_notice = CASE WHEN facilitators.licence_expire_date = excluded.licence_expire_date THEN facilitators.licence_notice END,
			licence_verified = excluded.licence_verified, body = excluded.body, update_time = excluded.update_time, email = excluded.email`, args)
	return nil
}

// unlicensed returns the published therapy groups that have no lead with a verified licence valid on the day: all, or
// those of one facilitator.
func unlicensed(ctx context.Context, q pg.Querier, day time.Time, facilitator *uuid.UUID) ([]uuid.UUID, error) {
	rows, err := q.Query(ctx, `
		SELECT g.id FROM groups g
		WHERE g.kind = 2 AND g.state = 2 AND g.delete_time IS NULL
		  AND (@facilitator::uuid IS NULL OR EXISTS (SELECT FROM group_facilitators r WHERE r.group_id = g.id AND r.facilitator_id = @facilitator))
		  AND NOT EXISTS (
			SELECT FROM group_facilitators r JOIN facilitators f ON f.id = r.facilitator_id
			WHERE r.group_id = g.id AND r.role <> 3 AND f.licence_verified AND f.licence_expire_date >= @day::date)
		ORDER BY g.id`, pgx.NamedArgs{"day": day, "facilitator": facilitator})
	if err != nil {
		return nil, fmt.Errorf("find groups without a licence: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("find groups without a licence: %w", err)
	}
	return ids, nil
}
