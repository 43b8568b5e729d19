package referral

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/page"
)

// accessWindow is how much of all accesses of an organization is listed at once: they are found by their time only.
const accessWindow = 31 * 24 * time.Hour

// accessCursor is where a page of accesses ends.
type accessCursor struct {
	Time time.Time `json:"t"`
	ID   int64     `json:"i"`
}

// ListAccesses implements AccessService.
func (s *server) ListAccesses(ctx context.Context, req *referralv1.ListAccessesRequest) (*referralv1.ListAccessesResponse, error) {
	tenant := auth.TenantFrom(ctx)
	from, until, err := accessTimes(req)
	if err != nil {
		return nil, err
	}
	query := []any{"ListAccesses", tenant, req.GetParent(), from, until, req.GetCaller(), req.GetOrganization()}
	before, more, err := page.Decode[accessCursor](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	if !more {
		before = accessCursor{Time: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), ID: math.MaxInt64}
	}
	size := page.Size(req.GetPageSize())
	args := pgx.NamedArgs{
		"all": tenant.All, "org": tenant.Org, "before": before.ID, "before_time": before.Time, "from": from, "until": until,
		"who": req.GetCaller(), "whose": req.GetOrganization(), "n": size + 1,
	}
	there, found, err := accessParent(tenant, req.GetParent(), args)
	if err != nil {
		return nil, err
	}
	var whose []uuid.UUID
	var rows []*accessRow
	b := s.db.Batch(ctx)
	b.Queue(there, args).Query(func(r pgx.Rows) (err error) {
		whose, err = pgx.CollectRows(r, pgx.RowTo[uuid.UUID])
		return err
	})
	b.Queue(`SELECT `+accessColumns+found+` AND (@from::timestamptz IS NULL OR a.at >= @from) AND (@until::timestamptz IS NULL OR a.at < @until)
		  AND (@who = '' OR a.caller = @who) AND (@whose = '' OR a.organization = @whose)
		ORDER BY a.at DESC, a.id DESC LIMIT @n`, args).Query(collect(&rows))
	audit.QueueIf(ctx, b, req.GetParent(), there, args)
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("list accesses: %w", err)
	}
	if len(whose) == 0 {
		return nil, fault.NotFound(req.GetParent())
	}
	rows, next, err := page.Cut(rows, size, func(r *accessRow) accessCursor { return accessCursor{Time: r.At, ID: r.ID} }, query...)
	if err != nil {
		return nil, err
	}
	resp := &referralv1.ListAccessesResponse{NextPageToken: next}
	for _, r := range rows {
		resp.Accesses = append(resp.Accesses, r.toProto())
	}
	return resp, nil
}

// accessTimes returns the times that are asked for, nil where the request leaves one open.
func accessTimes(req *referralv1.ListAccessesRequest) (from, until *time.Time, err error) {
	if t := req.GetStartTime(); t != nil {
		from = new(t.AsTime())
	}
	if t := req.GetEndTime(); t != nil {
		until = new(t.AsTime())
	}
	if from != nil && until != nil && !from.Before(*until) {
		return nil, nil, fault.Invalid(fault.Field("end_time", "must be after start_time"))
	}
	if !strings.HasSuffix(req.GetParent(), "/-") {
		return from, until, nil
	}
	switch {
	case from == nil:
		return nil, nil, fault.Invalid(fault.Field("start_time", "is needed with referrals/-: say from when on, for at most 31 days"))
	case until == nil:
		until = new(from.Add(accessWindow))
	case until.Sub(*from) > accessWindow:
		return nil, nil, fault.Invalid(fault.Field("end_time", "is more than 31 days after start_time: ask in parts"))
	}
	return from, until, nil
}

// accessParent returns the query that finds whose accesses are asked for, if they are the tenant's, and where the accesses are found.
func accessParent(t auth.Tenant, parent string, args pgx.NamedArgs) (there, found string, err error) {
	const log = ` FROM audit_log a WHERE (a.at, a.id) < (@before_time, @before) AND `
	switch {
	case parent == "referrals/-" && t.All:
		return `SELECT @org::uuid WHERE true`, log + accessOfOwn, nil
	case parent == "referrals/-":
		return `SELECT @org::uuid WHERE true`, ` FROM (SELECT log_id FROM accesses
			WHERE org_id = @org AND at >= @from AND at < @until AND (at, log_id) < (@before_time, @before)
			ORDER BY at DESC, log_id DESC) o JOIN audit_log a ON a.id = o.log_id WHERE true`, nil
	}
	collection, _, _ := strings.Cut(parent, "/")
	id, err := aip.ParseName("parent", collection, parent)
	if err != nil {
		return "", "", err
	}
	args["id"] = id
	// A referral goes by its own name and those of its concern and of what was booked with it.
	const parts = `ARRAY(SELECT 'referrals/' || r.id FROM referrals r WHERE %[1]s)
		|| ARRAY(SELECT 'referralConcerns/' || r.id FROM referrals r WHERE %[1]s)
		|| ARRAY(SELECT 'bookings/' || b.id FROM bookings b JOIN referrals r ON r.id = b.referral_id WHERE %[1]s)`
	if collection == "referrals" {
		args["below"] = parent + "/"
		return `SELECT r.id FROM referrals r WHERE r.id = @id AND (@all OR r.org_id = @org)`,
			log + `(a.resource = ANY(` + fmt.Sprintf(parts, `r.id = @id`) + `) OR a.resource ^@ @below)`, nil
	}
	args["patient"] = parent
	return `SELECT p.id FROM patients p WHERE p.id = @id AND (@all OR p.org_id = @org)`,
		log + `a.resource = ANY(ARRAY[@patient] || ` + fmt.Sprintf(parts, `r.patient_id = @id`) + `)`, nil
}
