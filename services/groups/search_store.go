package groups

import (
	"context"
	"math"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/pg"
)

// found is a group that a search has found.
type found struct {
	groupRow
	at    foundKey // in the order of the search
	chord *float64 // squared, to the middle of the search; nil: no place, or none was asked for
}

// never is later than any session, in seconds since 1970.
const never = 1e18

// search runs the query over the directory and reads the groups that it finds. It is exact: every condition is decided on
// the rows themselves, and floating-point keys are made of the same operations as [chord] and [pointOf].
func search(ctx context.Context, db pg.Querier, q *query) ([]found, error) {
	args := pgx.NamedArgs{"now": q.now, "limit": q.limit, "farthest": farthest, "never": never}
	where := q.conditions(args)
	distance := "NULL::float8"
	if q.near != nil {
		args["x"], args["y"], args["z"] = q.near.x, q.near.y, q.near.z
		distance = "(d.x - @x) * (d.x - @x) + (d.y - @y) * (d.y - @y) + (d.z - @z) * (d.z - @z)"
	}
	next := "(SELECT min(s) FROM unnest(a.next_sessions) s WHERE s > @now)"
	first, second := "coalesce(extract(epoch FROM "+next+")::float8, @never::float8)", "0::float8"
	switch q.orderBy {
	case "distance":
		first = "coalesce(" + distance + ", @farthest::float8)"
	case "relevance":
		args["ranked"], args["above"], args["query_words"] = orEmpty(q.ranked), orEmpty(q.above), orEmpty(q.words)
		first = `-(SELECT count(*) FROM unnest(@query_words::text[]) w WHERE w = ANY(d.title_words)) * 4::float8
			- CASE WHEN d.cancer_types && @ranked::text[] THEN 3 WHEN d.cancer_types && @above::text[] THEN 2 WHEN 'any' = ANY(d.cancer_types) THEN 1 ELSE 0 END`
		second = "coalesce(" + distance + ", @farthest::float8)"
	}
	after := "true"
	if q.after != nil {
		args["after_first"], args["after_second"], args["after_id"] = q.after.First, q.after.Second, q.after.ID
		after = "(f.first, f.second, f.id) > (@after_first, @after_second, @after_id)"
	}
	rows, err := db.Query(ctx, `
		WITH candidates AS (
			SELECT d.group_id AS id, `+first+` AS first, `+second+` AS second, `+distance+` AS chord
			FROM directory d JOIN availability a ON a.group_id = d.group_id
			WHERE `+where+`
		), found AS (
			SELECT * FROM candidates f WHERE `+after+` ORDER BY first, second, id LIMIT @limit
		)
		SELECT `+strings.Replace(groupColumns, "p.body", "NULL::bytea", 1)+`, f.first, f.second, f.chord
		FROM found f JOIN groups g ON g.id = f.id JOIN availability a ON a.group_id = f.id
		WHERE g.state IN (2, 3) AND g.delete_time IS NULL
		ORDER BY f.first, f.second, f.id`, args)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (f found, err error) {
		err = f.scan(withKeys{row, &f})
		f.at.ID = f.ID
		return f, err
	})
}

// withKeys scans a found group's keys after its own columns.
type withKeys struct {
	pgx.Row
	f *found
}

func (w withKeys) Scan(dest ...any) error {
	return w.Row.Scan(append(dest, &w.f.at.First, &w.f.at.Second, &w.f.chord)...)
}

// conditions returns what a group must meet, over directory d and availability a.
func (q *query) conditions(args pgx.NamedArgs) string {
	c := []string{"true"}
	add := func(ok bool, sql string, name string, value any) {
		if ok {
			c = append(c, sql)
			if name != "" {
				args[name] = value
			}
		}
	}
	add(len(q.words) > 0, "d.words @> @words", "words", q.words)
	add(len(q.GetKinds()) > 0, "d.kind = ANY(@kinds::int[])", "kinds", numbers(q.GetKinds()))
	add(len(q.GetFacilitations()) > 0, "d.facilitation = ANY(@facilitations::int[])", "facilitations", numbers(q.GetFacilitations()))
	add(len(q.GetFormats()) > 0, "d.format = ANY(@formats::int[])", "formats", numbers(q.GetFormats()))
	add(len(q.types) > 0, "d.cancer_types && @types::text[]", "types", q.types)
	add(len(q.GetPhases()) > 0, "(d.phases = '{}' OR d.phases && @phases::smallint[])", "phases", numbers(q.GetPhases()))
	add(len(q.GetSideEffects()) > 0, "d.side_effects && @side_effects::smallint[]", "side_effects", numbers(q.GetSideEffects()))
	add(len(q.GetAudiences()) > 0, "(d.audiences = '{}' OR d.audiences && @audiences::smallint[])", "audiences", numbers(q.GetAudiences()))
	add(len(q.GetDemographics()) > 0, "d.demographics && @demographics::smallint[]", "demographics", numbers(q.GetDemographics()))
	add(len(q.GetAccessibility()) > 0, "d.accessibility @> @accessibility::smallint[]", "accessibility", numbers(q.GetAccessibility()))
	add(len(q.GetLanguages()) > 0, "d.languages && @languages::text[]", "languages", lowered(q.GetLanguages()))
	add(len(q.GetSizeClasses()) > 0, "d.size_class = ANY(@size_classes::int[])", "size_classes", numbers(q.GetSizeClasses()))
	add(q.orgID != uuid.Nil, "d.org_id = @org", "org", q.orgID)

	gift := []int32{int32(groupsv1.Group_Cost_FREE), int32(groupsv1.Group_Cost_DONATION)}
	add(q.GetFreeOnly(), "d.cost_type = ANY(@gift::int[])", "gift", gift)
	if m := q.GetMaxCost(); m != nil {
		args["gift"], args["currency"], args["units"], args["nanos"], args["fee"] = gift, m.GetCurrencyCode(), m.GetUnits(), m.GetNanos(), int32(groupsv1.Group_Cost_FEE)
		add(true, "(d.cost_type = ANY(@gift::int[]) OR (d.cost_type = @fee AND d.cost_currency = @currency AND (d.cost_units, d.cost_nanos) <= (@units, @nanos)))", "", nil)
	}
	add(q.GetPayer() != "", "@payer = ANY(d.payers)", "payer", strings.ToLower(q.GetPayer()))
	add(q.Age != nil, "@age BETWEEN d.min_age AND d.max_age", "age", q.GetAge())
	add(q.GetAcceptsIntake(), "d.accepts_intake", "", nil)
	add(q.GetMinOpenSeats() > 0, "(a.open_seats IS NULL OR a.open_seats >= @seats)", "seats", q.GetMinOpenSeats())

	if q.chord > 0 {
		// The band of latitudes around the circle is what the index narrows; the chord decides.
		args["south"], args["north"] = latitudes(q)
		args["chord"] = q.chord
		within := "(d.z BETWEEN @south AND @north AND (d.x - @x) * (d.x - @x) + (d.y - @y) * (d.y - @y) + (d.z - @z) * (d.z - @z) <= @chord)"
		if q.GetIncludeRemote() {
			args["in_person"] = int32(groupsv1.Group_IN_PERSON)
			within = "(" + within + " OR d.format <> @in_person)"
		}
		c = append(c, within)
	}
	if len(q.spans) > 0 {
		from, to := make([]int32, len(q.spans)), make([]int32, len(q.spans))
		for i, s := range q.spans {
			from[i], to[i] = s.from, s.to
		}
		args["from"], args["to"] = from, to
		c = append(c, `EXISTS (
			SELECT FROM unnest(a.next_sessions, a.session_minutes) AS t (s, m), unnest(@from::int[], @to::int[]) AS w (f, u)
			WHERE t.s > @now AND t.m >= w.f AND t.m < w.u)`)
	}
	if t := q.GetNextSessionBefore(); t != nil {
		args["before"] = t.AsTime()
		c = append(c, "EXISTS (SELECT FROM unnest(a.next_sessions) s WHERE s > @now AND s < @before)")
	}
	return strings.Join(c, "\n\t\t\t\tAND ")
}

// latitudes returns the sines of the southernmost and northernmost latitude of the circle, a little widened.
func latitudes(q *query) (south, north float64) {
	const slack = 1e-9
	lat, r := math.Asin(math.Max(-1, math.Min(1, q.near.z))), q.GetNear().GetRadiusKm()/earthRadius
	return math.Sin(math.Max(-math.Pi/2, lat-r)) - slack, math.Sin(math.Min(math.Pi/2, lat+r)) + slack
}
