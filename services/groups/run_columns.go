package groups

import (
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

// groupColumnsOf are the columns of many groups, for one statement.
type groupColumnsOf struct {
	ids                                               []uuid.UUID
	revisions                                         []int64
	states, reasons, kinds, facilitations, formatsOf  []int16
	titles, languages, cancerTypes, zones, externalID []string
	bodies, privates                                  [][]byte
	created, updated                                  []time.Time
	deleted                                           []*time.Time
	seats                                             []int32
	listed                                            []bool
}

func (c *groupColumnsOf) add(k *groupKey, g *groupsv1.Group, body, private []byte) {
	c.ids, c.revisions = append(c.ids, k.ID), append(c.revisions, k.Revision)
	c.states, c.reasons = append(c.states, int16(k.State)), append(c.reasons, int16(k.PauseReason))
	c.kinds, c.facilitations = append(c.kinds, int16(g.GetKind())), append(c.facilitations, int16(g.GetFacilitation()))
	c.formatsOf, c.titles = append(c.formatsOf, int16(g.GetFormat())), append(c.titles, g.GetTitle())
	c.languages, c.cancerTypes = append(c.languages, arrayOf(g.GetLanguages())), append(c.cancerTypes, arrayOf(g.GetCancerTypes()))
	c.zones, c.externalID = append(c.zones, g.GetTimeZone()), append(c.externalID, g.GetExternalId())
	c.bodies, c.privates = append(c.bodies, body), append(c.privates, private)
	c.created, c.updated, c.deleted = append(c.created, k.CreateTime), append(c.updated, k.UpdateTime), append(c.deleted, k.DeleteTime)
	c.seats, c.listed = append(c.seats, g.GetCapacity().GetSeats()), append(c.listed, k.Listed)
}

// arrayOf writes codes and language tags, which hold nothing that needs quotes, as PostgreSQL writes an array.
func arrayOf(codes []string) string { return "{" + strings.Join(codes, ",") + "}" }

func (c *groupColumnsOf) args(org uuid.UUID) pgx.NamedArgs {
	return pgx.NamedArgs{
		"org": org, "ids": c.ids, "revisions": c.revisions, "states": c.states, "reasons": c.reasons, "titles": c.titles, "kinds": c.kinds,
		"facilitations": c.facilitations, "formats": c.formatsOf, "languages": c.languages, "cancer_types": c.cancerTypes, "zones": c.zones,
		"bodies": c.bodies, "privates": c.privates, "created": c.created, "updated": c.updated, "deleted": c.deleted, "seats": c.seats,
		"external_ids": c.externalID, "listed": c.listed,
	}
}

// queueInsert queues all rows of new groups.
func (c *groupColumnsOf) queueInsert(b *pgx.Batch, org uuid.UUID, source string) {
	if len(c.ids) == 0 {
		return
	}
	args := c.args(org)
	args["source"] = source
	b.Queue(`
		INSERT INTO groups (id, org_id, revision, state, pause_reason, title, kind, facilitation, format, languages, cancer_types,
			time_zone, external_id, source_system, listed, body, create_time, update_time, first_public_time)
		SELECT r.id, @org, r.revision, r.state, r.pause_reason, r.title, r.kind, r.facilitation, r.format, r.languages::text[], r.cancer_types::text[],
			r.time_zone, r.external_id, @source, r.listed, r.body, r.create_time, r.update_time, CASE WHEN r.state IN (2, 3) THEN r.update_time END
		FROM unnest(@ids::uuid[], @revisions::bigint[], @states::smallint[], @reasons::smallint[], @titles::text[], @kinds::smallint[],
				@facilitations::smallint[], @formats::smallint[], @languages::text[], @cancer_types::text[], @zones::text[], @external_ids::text[],
				@listed::boolean[], @bodies::bytea[], @created::timestamptz[], @updated::timestamptz[])
			AS r (id, revision, state, pause_reason, title, kind, facilitation, format, languages, cancer_types, time_zone, external_id,
				listed, body, create_time, update_time)`, args)
	b.Queue(`
		INSERT INTO availability (group_id, open_seats)
		SELECT r.id, nullif(r.seats, 0) FROM unnest(@ids::uuid[], @seats::int[]) AS r (id, seats)`, args)
	b.Queue(`
		INSERT INTO group_private (group_id, org_id, body)
		SELECT r.id, @org, r.body FROM unnest(@ids::uuid[], @privates::bytea[]) AS r (id, body) WHERE r.body IS NOT NULL`, args)
}

// queueUpdate queues the change of locked groups.
func (c *groupColumnsOf) queueUpdate(b *pgx.Batch, org uuid.UUID) {
	if len(c.ids) == 0 {
		return
	}
	args := c.args(org)
	b.Queue(`
		UPDATE groups g SET revision = r.revision, state = r.state, pause_reason = r.pause_reason, title = r.title, kind = r.kind,
			facilitation = r.facilitation, format = r.format, languages = r.languages::text[], cancer_types = r.cancer_types::text[],
			time_zone = r.time_zone, body = r.body, update_time = r.update_time, delete_time = r.delete_time
		FROM unnest(@ids::uuid[], @revisions::bigint[], @states::smallint[], @reasons::smallint[], @titles::text[], @kinds::smallint[],
				@facilitations::smallint[], @formats::smallint[], @languages::text[], @cancer_types::text[], @zones::text[], @bodies::bytea[],
				@updated::timestamptz[], @deleted::timestamptz[])
			AS r (id, revision, state, pause_reason, title, kind, facilitation, format, languages, cancer_types, time_zone, body, update_time, delete_time)
		WHERE g.id = r.id AND g.org_id = @org`, args)
	// Until membership has told of seats, all are open.
	b.Queue(`
		UPDATE availability a SET open_seats = nullif(r.seats, 0) FROM unnest(@ids::uuid[], @seats::int[]) AS r (id, seats)
		WHERE a.group_id = r.id AND a.seats_revision = 0 AND a.open_seats IS DISTINCT FROM nullif(r.seats, 0)`, args)
	b.Queue(`
		DELETE FROM group_private p USING unnest(@ids::uuid[], @privates::bytea[]) AS r (id, body)
		WHERE p.group_id = r.id AND p.org_id = @org AND r.body IS NULL`, args)
	b.Queue(`
		INSERT INTO group_private (group_id, org_id, body)
		SELECT r.id, @org, r.body FROM unnest(@ids::uuid[], @privates::bytea[]) AS r (id, body) WHERE r.body IS NOT NULL
		ON CONFLICT (group_id) DO UPDATE SET body = excluded.body WHERE group_private.body <> excluded.body`, args)
}

// itemColumns are the columns of many items, for one statement.
type itemColumns struct {
	ids             []string
	numbers         []int32
	groups          []uuid.UUID
	states          []int16
	paused          []bool
	digests, bodies [][]byte
}

// itemChanges are what a batch does to the feed's items.
type itemChanges struct {
	fresh, known itemColumns

	gone []string // items that change their state only
	to   []int16

	before, after []string // items that are another record's now
}

// add adds an item with what the feed tells.
func (c *itemColumns) add(d *decoded, group uuid.UUID, number int32, state int16, paused bool) {
	c.ids, c.numbers = append(c.ids, d.id), append(c.numbers, number)
	c.groups, c.states = append(c.groups, group), append(c.states, state)
	c.paused, c.digests, c.bodies = append(c.paused, paused), append(c.digests, d.digest), append(c.bodies, d.told)
}

// set gives an item another state.
func (c *itemChanges) set(it item, state int16) {
	c.gone, c.to = append(c.gone, it.ID), append(c.to, state)
}

// move makes an item another record's.
func (c *itemChanges) move(from, to string) {
	c.before, c.after = append(c.before, from), append(c.after, to)
}

// insertItems begins the insert of items' columns.
const insertItems = `
	INSERT INTO feed_items (feed_id, external_id, org_id, item, group_id, state, paused, digest, body)
	SELECT @feed, r.id, @org, r.item, r.group_id, r.state, r.paused, r.digest, r.body
	FROM unnest(@ids::text[], @numbers::int[], @groups::uuid[], @states::smallint[], @paused::boolean[], @digests::bytea[], @bodies::bytea[])
		AS r (id, item, group_id, state, paused, digest, body)`

func (c *itemColumns) args(run *runRow) pgx.NamedArgs {
	return pgx.NamedArgs{
		"feed": run.FeedID, "org": run.OrgID, "ids": c.ids, "groups": c.groups, "states": c.states, "paused": c.paused,
		"digests": c.digests, "bodies": c.bodies, "numbers": c.numbers,
	}
}

// queue queues the rows.
func (c *itemChanges) queue(b *pgx.Batch, run *runRow) {
	if len(c.before) > 0 {
		b.Queue(`
			UPDATE feed_items i SET external_id = r.after FROM unnest(@before::text[], @after::text[]) AS r (before, after)
			WHERE i.feed_id = @feed AND i.org_id = @org AND i.external_id = r.before`,
			pgx.NamedArgs{"feed": run.FeedID, "org": run.OrgID, "before": c.before, "after": c.after})
	}
	if len(c.fresh.ids) > 0 {
		b.Queue(insertItems, c.fresh.args(run))
	}
	if len(c.known.ids) > 0 {
		b.Queue(insertItems+`
			ON CONFLICT (feed_id, external_id) DO UPDATE SET state = excluded.state, paused = excluded.paused, digest = excluded.digest, body = excluded.body`,
			c.known.args(run))
	}
	if len(c.gone) > 0 {
		b.Queue(`
			UPDATE feed_items i SET state = r.state FROM unnest(@gone::text[], @to::smallint[]) AS r (id, state)
			WHERE i.feed_id = @feed AND i.org_id = @org AND i.external_id = r.id`,
			pgx.NamedArgs{"feed": run.FeedID, "org": run.OrgID, "gone": c.gone, "to": c.to})
	}
}
