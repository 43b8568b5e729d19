package referral

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/page"
)

// searchCursor is where a page of a search ends.
type searchCursor struct {
	Time time.Time `json:"t"`
	ID   uuid.UUID `json:"i"`
}

// SearchReferrals implements ReferralRecordsService.
func (s *server) SearchReferrals(ctx context.Context, req *referralv1.SearchReferralsRequest) (*referralv1.SearchReferralsResponse, error) {
	tenant := auth.TenantFrom(ctx)
	key := proto.CloneOf(req)
	key.PageSize, key.PageToken, key.Count = 0, "", false
	asked, err := proto.MarshalOptions{Deterministic: true}.Marshal(key)
	if err != nil {
		return nil, fmt.Errorf("encode query: %w", err)
	}
	query := []any{"SearchReferrals", tenant, asked}
	after, more, err := page.Decode[searchCursor](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	order, err := searchOrder(req.GetOrderBy())
	if err != nil {
		return nil, err
	}
	args := pgx.NamedArgs{"all": tenant.All, "org": tenant.Org}
	where, err := s.searchCondition(tenant.Org, req, args)
	if err != nil {
		return nil, err
	}
	size := page.Size(req.GetPageSize())
	var rows []*row
	var total int64
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		// By time of change, only what is settled: what is still being written may turn out to be older.
		if order.column == "change_time" || req.GetChangeTime() != nil {
			var settled time.Time
			if err := tx.QueryRow(ctx, `SELECT settled_time()`).Scan(&settled); err != nil {
				return fmt.Errorf("find the settled time: %w", err)
			}
			where += ` AND r.change_time < @settled`
			args["settled"] = settled
		}
		if req.GetCount() {
			if err := tx.QueryRow(ctx, `SELECT count(*) FROM referrals r WHERE `+visible+` AND `+where, args).Scan(&total); err != nil {
				return fmt.Errorf("count referrals: %w", err)
			}
		}
		if rows, err = collectRows(ctx, tx, order.sql(tenant, where, more), order.args(args, after, size)); err != nil {
			return err
		}
		return s.showReferrals(ctx, tx, upTo(size, rows))
	})
	if err != nil {
		return nil, err
	}
	rows, next, err := page.Cut(rows, size, order.cursor, query...)
	if err != nil {
		return nil, err
	}
	resp := &referralv1.SearchReferralsResponse{NextPageToken: next}
	if req.GetCount() {
		resp.TotalSize = &total
	}
	for _, r := range rows {
		m, err := s.toProto(r, viewFor(tenant, r))
		if err != nil {
			return nil, err
		}
		resp.Referrals = append(resp.Referrals, m)
	}
	return resp, nil
}

// searchedBy is the order of a search: by a time and, among equal ones, the id; or by the id, which is the order in which referrals were
// created.
type searchedBy struct {
	column string
	desc   bool
}

// searchTimes are the times by which referrals are found and sorted.
var searchTimes = map[string]struct {
	sql string
	of  func(*row) time.Time
}{
	"create_time":  {`r.create_time`, func(r *row) time.Time { return r.CreateTime }},
	"change_time":  {`r.change_time`, func(r *row) time.Time { return *r.ChangeTime }},
	"author_time":  {`coalesce(r.author_time, r.create_time)`, func(r *row) time.Time { return *cmp.Or(r.AuthorTime, &r.CreateTime) }},
	"consent_time": {`coalesce(r.consent_time, r.create_time)`, (*row).consentSince},
}

func searchOrder(orderBy string) (searchedBy, error) {
	if orderBy == "" {
		return searchedBy{"create_time", true}, nil
	}
	fields := aip.Fields{}
	for name := range searchTimes {
		fields[name] = aip.Instant(name)
	}
	orders, err := aip.OrderBy(orderBy, fields)
	if err != nil {
		return searchedBy{}, err
	}
	if len(orders) != 1 {
		return searchedBy{}, fault.Invalid(fault.Field("order_by", "takes one field: create_time, author_time, consent_time or change_time"))
	}
	return searchedBy{orders[0].Column, orders[0].Desc}, nil
}

// sql reads a page. What the tenant refers and what it owns are two walks along two indexes.
func (o searchedBy) sql(t auth.Tenant, where string, more bool) string {
	direction, than := "", ">"
	if o.desc {
		direction, than = " DESC", "<"
	}
	by, after := "r.id"+direction, `r.id `+than+` @after_id`
	if o.column != "create_time" {
		at := searchTimes[o.column].sql
		by, after = at+direction+", "+by, `(`+at+`, r.id) `+than+` (@after_time, @after_id)`
	}
	if more {
		where += ` AND ` + after
	}
	walk := func(whose string) string {
		return `(SELECT ` + columns + ` FROM referrals r WHERE ` + whose + ` AND ` + where + ` ORDER BY ` + by + ` LIMIT @n)`
	}
	if t.All {
		return walk(`true`)
	}
	return `SELECT r.* FROM (` + walk(`r.org_id = @org`) + ` UNION ALL ` +
		walk(`r.owner_org_id = @org AND r.org_id <> @org AND r.send_time IS NOT NULL`) + `) r ORDER BY ` + by + ` LIMIT @n`
}

func (o searchedBy) args(args pgx.NamedArgs, after searchCursor, size int) pgx.NamedArgs {
	args["after_time"], args["after_id"], args["n"] = after.Time, after.ID, size+1
	return args
}

func (o searchedBy) cursor(r *row) searchCursor {
	return searchCursor{Time: searchTimes[o.column].of(r), ID: r.ID}
}

// searchCondition turns what is asked for into a condition over r.
func (s *server) searchCondition(org uuid.UUID, req *referralv1.SearchReferralsRequest, args pgx.NamedArgs) (string, error) {
	args["now"] = s.clock.Now()
	where := []string{"true"}
	add := func(name, condition string, value any) {
		where, args[name] = append(where, condition), value
	}
	for _, f := range []struct {
		field, collection string
		names             []string
		condition         string
	}{
		{"referrals", "referrals", req.GetReferrals(), `r.id = ANY(@referrals)`},
		{"patients", "patients", req.GetPatients(), `r.patient_id = ANY(@patients)`},
		{"organizations", "organizations", req.GetOrganizations(), `r.org_id = ANY(@organizations)`},
		{"owner_organizations", "organizations", req.GetOwnerOrganizations(), `r.owner_org_id = ANY(@owner_organizations)`},
		{"groups", "groups", req.GetGroups(), `(r.group_id = ANY(@groups) OR r.requested_group_id = ANY(@groups))`},
	} {
		if len(f.names) > 0 {
			found, err := parseNames(f.field, f.collection, f.names)
			if err != nil {
				return "", err
			}
			add(f.field, f.condition, found)
		}
	}
	if len(req.GetSubjectIdentifiers()) > 0 {
		where = append(where, `r.patient_id = ANY (`+whoHas(s, args, org, req.GetSubjectIdentifiers())+`)`)
	}
	if states, narrowed := statesOf(req); narrowed {
		add("states", `r.state = ANY(@states)`, states)
	}
	if len(req.GetUrgencies()) > 0 {
		add("urgencies", `coalesce(nullif(r.urgency, 0), 1) = ANY(@urgencies)`, numbers(req.GetUrgencies())) // not said is routine
	}
	if len(req.GetPlacerNumbers()) > 0 {
		add("placers", `r.placer_number = ANY(@placers)`, req.GetPlacerNumbers())
	}
	if len(req.GetFillerNumbers()) > 0 {
		add("fillers", `r.filler_number = ANY(@fillers)`, req.GetFillerNumbers())
	}
	if len(req.GetOrderNumbers()) > 0 {
		where = append(where, orderNumberCondition(req.GetOrderNumbers(), args))
	}
	if len(req.GetKinds()) > 0 {
		kinds := make([]string, len(req.GetKinds()))
		for i, k := range req.GetKinds() {
			kinds[i] = k.String()
		}
		add("kinds", `r.needs -> 'kinds' ?| @kinds::text[] AND (`+ownReferral+` OR `+stillConsented+`)`, kinds)
	}
	if req.Owned != nil {
		add("owned", `(r.owner_org_id IS NOT NULL) = @owned`, req.GetOwned())
	}
	for _, f := range []struct {
		field, sql string
		in         *referralv1.TimeRange
	}{
		{"create_time", searchTimes["create_time"].sql, req.GetCreateTime()}, {"author_time", searchTimes["author_time"].sql, req.GetAuthorTime()},
		{"send_time", `r.send_time`, req.GetSendTime()}, {"change_time", searchTimes["change_time"].sql, req.GetChangeTime()},
		{"consent_time", searchTimes["consent_time"].sql, req.GetConsentTime()},
	} {
		for _, end := range []struct {
			name, op string
			at       *timestamppb.Timestamp
		}{{"start_time", ">=", f.in.GetStartTime()}, {"end_time", "<", f.in.GetEndTime()}} {
			if end.at == nil {
				continue
			}
			if !end.at.IsValid() {
				return "", fault.Invalid(fault.Field(f.field+"."+end.name, "is no time between the years 1 and 9999"))
			}
			add(f.field+"_"+end.name, f.sql+` `+end.op+` @`+f.field+`_`+end.name, end.at.AsTime())
		}
	}
	return strings.Join(append(where, codeCondition(req, args)...), ` AND `), nil
}

// orderNumberCondition is that one of the numbers is the referral's, by the side that gave it.
func orderNumberCondition(numbers []*referralv1.SearchReferralsRequest_OrderNumber, args pgx.NamedArgs) string {
	var sides []string
	for i, n := range numbers {
		number, system := fmt.Sprintf("order_number_%d", i), fmt.Sprintf("order_system_%d", i)
		args[number], args[system] = n.GetValue(), n.GetSystem()
		for _, side := range []struct {
			party party
			name  string
		}{{referrer, "placer"}, {receiver, "filler"}} {
			if n.GetParty() != 0 && n.GetParty() != side.party {
				continue
			}
			all := `r.` + side.name + `_number <> ''`
			if n.GetValue() != "" {
				all += ` AND r.` + side.name + `_number = @` + number
			}
			if n.System != nil {
				all += ` AND r.` + side.name + `_system = @` + system
			}
			sides = append(sides, all)
		}
	}
	return `(` + strings.Join(sides, ` OR `) + `)`
}

// statesOf returns the states that a search allows, and whether those are not all.
func statesOf(req *referralv1.SearchReferralsRequest) (allowed []int32, narrowed bool) {
	task, business, request := req.GetTaskStatuses(), req.GetBusinessStatuses(), req.GetServiceRequestStatuses()
	narrowed = len(req.GetStates())+len(task)+len(business)+len(request) > 0
	for s, p := range projections {
		status := p.task
		if req.GetProfile() == referralv1.TaskProfile_BSER {
			status = cmp.Or(p.bser, p.task)
		}
		if (len(req.GetStates()) == 0 || slices.Contains(req.GetStates(), s)) && (len(task) == 0 || slices.Contains(task, status)) &&
			(len(business) == 0 || slices.Contains(business, p.bserBusiness) || slices.Contains(business, s.String())) && (len(request) == 0 || slices.Contains(request, p.serviceRequest)) {
			allowed = append(allowed, int32(s))
		}
	}
	return allowed, narrowed
}

// What a search may find by: the referrer whatever it wrote, others what the consent shows them now (see covers).
const (
	ownReferral    = `(r.org_id = @org AND NOT @all)`
	stillConsented = `(coalesce((r.consent ->> 'withdrawTime')::timestamptz > @now, true) AND coalesce((r.consent ->> 'expireTime')::timestamptz > @now, true))`
	clinicalShared = `(` + stillConsented + ` AND r.consent -> 'share' ? 'CLINICAL' AND (r.consent ? 'expireTime' OR r.state < 10)
		AND coalesce((r.consent ->> 'grantTime')::timestamptz <= @now, true)
		AND (NOT r.consent ? 'recipients' OR r.consent -> 'recipients' ? ('organizations/' || r.owner_org_id)))`
)

// codeCondition finds referrals by their reason codes: the referrer its own, an owner those of which it may see them.
func codeCondition(req *referralv1.SearchReferralsRequest, args pgx.NamedArgs) []string {
	if len(req.GetReasonCodes()) == 0 {
		return nil
	}
	systems, codes := make([]string, len(req.GetReasonCodes())), make([]string, len(req.GetReasonCodes()))
	for i, c := range req.GetReasonCodes() {
		systems[i], codes[i] = c.GetSystem(), c.GetCode()
	}
	args["systems"], args["codes"] = systems, codes
	return []string{
		`EXISTS (SELECT FROM jsonb_array_elements(r.reason_codes) h JOIN unnest(@systems::text[], @codes::text[]) AS w (system, code)
			ON h ->> 'code' = w.code AND w.system IN ('', h ->> 'system'))`,
		`(` + ownReferral + ` OR ` + clinicalShared + `)`,
	}
}

func numbers[E ~int32](enums []E) []int32 {
	all := make([]int32, len(enums))
	for i, e := range enums {
		all[i] = int32(e)
	}
	return all
}
