package groups

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"buf.build/go/protovalidate"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/formats"
)

// rejection is something of a row that was not taken as it is.
type rejection struct {
	formats.Rejected
	row    int64
	n      int16
	effect groupsv1.RejectedRow_Effect // REJECTED if 0
}

// decoded is a staged record, or an item to remove.
type decoded struct {
	row      int64
	id       string
	digest   []byte
	raw      []byte // nil: the item is absent
	group    *groupsv1.Group
	closed   bool
	rejected []formats.Rejected

	told          []byte // the group as the feed tells it, encoded
	body, private []byte // the parts of a new group, encoded
}

// loaded is a batch, ready to be written.
type loaded struct {
	number  int32
	records []decoded
	err     error
}

// apply writes the staged batches, one after another; while one is written, the next is decoded.
func (s *feedServer) apply(ctx context.Context, run *runRow, feed *feedRow, f *groupsv1.Feed, until time.Time) error {
	ctx, cancel := context.WithCancel(system(ctx))
	defer cancel()
	var kept bool
	if err := s.db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM feed_stage WHERE run_id = $1 AND scan = $2 AND batch = $3)`, run.ID, run.Scan, stageMark).
		Scan(&kept); err != nil {
		return fmt.Errorf("look at stage: %w", err)
	}
	if !kept { // PostgreSQL has crashed and emptied it
		if err := s.scan(ctx, run, feed, f, until); err != nil {
			return err
		}
	}
	batches := make(chan loaded, 1)
	var loading sync.WaitGroup
	loading.Go(func() {
		defer close(batches)
		for n := run.Batch; n < run.Batches; n++ {
			b := s.load(ctx, run, f, n)
			select {
			case batches <- b:
			case <-ctx.Done():
				return
			}
			if b.err != nil {
				return
			}
		}
	})
	defer loading.Wait()
	defer cancel()
	w := &writer{feedServer: s, run: run, f: f, next: feed.NextItem}
	for b := range batches {
		if b.err != nil {
			return b.err
		}
		if err := w.write(ctx, b); err != nil {
			return err
		}
		if b.number+1 < run.Batches && !time.Now().Before(until) {
			return errMore
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.conclude(ctx, run, groupsv1.FeedRun_SUCCEEDED, run.Error)
}

// load reads a batch and decodes its records.
func (s *feedServer) load(ctx context.Context, run *runRow, f *groupsv1.Feed, n int32) loaded {
	b := loaded{number: n}
	rows, err := s.db.Query(ctx, `
		SELECT row, external_id, digest, raw FROM feed_stage WHERE run_id = @run AND scan = @scan AND batch = @batch ORDER BY row`,
		pgx.NamedArgs{"run": run.ID, "scan": run.Scan, "batch": n})
	if err == nil {
		b.records, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (d decoded, err error) {
			err = row.Scan(&d.row, &d.id, &d.digest, &d.raw)
			return d, err
		})
	}
	if err != nil {
		b.err = fmt.Errorf("read batch: %w", err)
		return b
	}
	var workers sync.WaitGroup
	size := max(1, (len(b.records)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	for part := range slices.Chunk(b.records, size) {
		workers.Go(func() {
			for i := range part {
				s.decode(&part[i], f)
			}
		})
	}
	workers.Wait()
	return b
}

// decode makes the record's group and checks it as [server.CreateGroup] does.
func (s *feedServer) decode(d *decoded, f *groupsv1.Feed) {
	if d.raw == nil {
		return
	}
	defer func() { // one bad record must not end the process
		if p := recover(); p != nil {
			s.log.Error("a record made its decoder panic", "format", f.GetFormat(), "row", d.row, "panic", p, "stack", string(debug.Stack()))
			d.rejected = []formats.Rejected{*formats.Reject(int(d.row), "", d.id, "cannot be read")}
		}
	}()
	e, rejected := s.format(f).Entry(formats.Record{Row: int(d.row), ID: d.id, Raw: d.raw}, options(f))
	d.raw = []byte{}
	if d.rejected = rejected; len(rejected) > 0 {
		return
	}
	if e == nil || e.Group == nil {
		d.rejected = []formats.Rejected{*formats.Reject(int(d.row), "", d.id, "holds no group")}
		return
	}
	g := e.Group
	strip(g)
	g.ExternalId, g.SourceSystem, g.Facilitators = d.id, f.GetSourceSystem(), nil
	// The extensions are the bulk of many records. They have no rules but how large and deep they are: they are encoded once.
	extensions := g.GetExtensions()
	rest, err := proto.Marshal(&groupsv1.Group{Extensions: extensions})
	g.Extensions = nil
	if err == nil {
		d.told, err = proto.Marshal(g)
	}
	if err != nil {
		d.rejected = []formats.Rejected{*formats.Reject(int(d.row), "", d.id, "holds text that is not UTF-8")}
		return
	}
	d.told = append(d.told, rest...)
	d.group, d.closed = g, e.Closed
	d.rejected = s.check(d.row, g)
	if d.rejected = append(d.rejected, tooMuch(d, extensions)...); len(d.rejected) > 0 {
		return
	}
	setGuidelines(g, nil)
	if d.body, d.private, err = ownParts(g); err != nil {
		d.rejected = []formats.Rejected{*formats.Reject(int(d.row), "", d.id, "cannot be kept")}
	}
	d.private = append(d.private, rest...)
	g.Extensions = extensions
}

// tooMuch returns why the extensions cannot be taken.
func tooMuch(d *decoded, extensions *structpb.Struct) (out []formats.Rejected) {
	if extensions == nil {
		return nil
	}
	c := &checker{}
	c.extensions(extensions)
	for _, v := range c.violations {
		out = append(out, *formats.Reject(int(d.row), v.GetField(), "", "%s", v.GetDescription()))
	}
	return out
}

// check brings a group to its canonical form and returns why it cannot be taken.
func (s *feedServer) check(row int64, g *groupsv1.Group) []formats.Rejected {
	var out []formats.Rejected
	err := s.valid.Validate(g)
	if invalid, ok := errors.AsType[*protovalidate.ValidationError](err); ok {
		for _, v := range invalid.Violations {
			path := protovalidate.FieldPathString(v.Proto.GetField())
			out = append(out, *formats.Reject(int(row), path, valueAt(g, path), "%s", v.Proto.GetMessage()))
		}
	} else if err != nil {
		out = append(out, *formats.Reject(int(row), "", g.GetExternalId(), "cannot be checked"))
	}
	if len(out) > 0 {
		return out
	}
	languages := g.GetLanguages() // of which checkGroup leaves those that are some
	if bad, ok := errors.AsType[*fault.Error](checkGroup(g)); ok {
		g.Languages = languages
		for _, v := range violationsOf(bad) {
			path := strings.TrimPrefix(v.GetField(), "group.")
			out = append(out, *formats.Reject(int(row), path, valueAt(g, path), "%s", v.GetDescription()))
		}
	}
	return out
}

// violationsOf returns the bad fields that an error names.
func violationsOf(e *fault.Error) (out []*fault.Violation) {
	for _, d := range e.Details {
		if b, ok := d.(*errdetails.BadRequest); ok {
			out = append(out, b.GetFieldViolations()...)
		}
	}
	return out
}

// valueAt returns the text at a path such as "venue.address.country" or "languages[1]", empty if there is no text.
func valueAt(g *groupsv1.Group, path string) string {
	m := g.ProtoReflect()
	for segment := range strings.SplitSeq(path, ".") {
		name, index, _ := strings.Cut(strings.TrimSuffix(segment, "]"), "[")
		fd := m.Descriptor().Fields().ByTextName(name)
		if fd == nil || !m.Has(fd) {
			return ""
		}
		v := m.Get(fd)
		if fd.IsList() {
			i := 0
			if _, err := fmt.Sscanf(index, "%d", &i); err != nil || i < 0 || i >= v.List().Len() {
				return ""
			}
			v = v.List().Get(i)
		}
		switch {
		case fd.IsMap():
			return ""
		case fd.Kind() == protoreflect.MessageKind:
			m = v.Message()
		case fd.Kind() == protoreflect.EnumKind:
			if e := fd.Enum().Values().ByNumber(v.Enum()); e != nil {
				return string(e.Name())
			}
			return v.String()
		default:
			return v.String()
		}
	}
	return ""
}

// firm are the fields that a feed sets in a group that it did not make, over what the owner says.
func firm(name protoreflect.Name) bool {
	switch name {
	case "title", "summary", "description", "languages", "format", "venue", "online", "accessibility", "demographics", "demographic_note",
		"activities", "contact", "time_zone", "regular_times":
		return true
	}
	return false
}

// mergeTold sets in g what the feed tells anew: the fields in which told differs from before, which is nil when the feed did not
// make the group.
func mergeTold(g, told, before *groupsv1.Group) {
	to, from := g.ProtoReflect(), told.ProtoReflect()
	was := before.ProtoReflect()
	fields := from.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		switch name := fd.Name(); {
		case name == "external_id", name == "source_system", name == "guidelines" && !from.Has(fd) && !was.Has(fd):
		case name == "extensions":
			g.Extensions = mergeStruct(g.GetExtensions(), told.GetExtensions(), before.GetExtensions())
		case before == nil && from.Has(fd) && (firm(name) || !to.Has(fd)), before != nil && from.Has(fd) && (!was.Has(fd) || !was.Get(fd).Equal(from.Get(fd))):
			to.Set(fd, from.Get(fd))
		case before != nil && was.Has(fd) && !from.Has(fd):
			to.Clear(fd)
		}
	}
}

// mergeStruct is mergeTold for the members of an object.
func mergeStruct(have, told, before *structpb.Struct) *structpb.Struct {
	out := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	maps.Copy(out.Fields, have.GetFields())
	for k := range before.GetFields() {
		if _, ok := told.GetFields()[k]; !ok {
			delete(out.Fields, k)
		}
	}
	for k, v := range told.GetFields() {
		if was, ok := before.GetFields()[k]; !ok || !proto.Equal(was, v) {
			out.Fields[k] = v
		}
	}
	if len(out.Fields) == 0 {
		return nil
	}
	return out
}

// saveRejections keeps what was not taken of a run's rows. What is kept already, by an earlier attempt, is the same.
func (s *feedServer) saveRejections(ctx context.Context, run *runRow, list []rejection) error {
	if len(list) == 0 {
		return nil
	}
	b := s.db.Batch(ctx)
	queueRejections(b, run, list)
	if err := s.db.Send(ctx, b); err != nil {
		return fmt.Errorf("keep rejected rows: %w", err)
	}
	return nil
}

func queueRejections(b *pgx.Batch, run *runRow, list []rejection) {
	if len(list) == 0 {
		return
	}
	var rows []int64
	var numbers, effects []int16
	var fields, values, reasons []string
	for _, r := range list {
		rows, numbers = append(rows, r.row), append(numbers, r.n)
		effects = append(effects, int16(cmp.Or(r.effect, groupsv1.RejectedRow_REJECTED)))
		fields, values, reasons = append(fields, clean(r.Field)), append(values, clean(r.Value)), append(reasons, clean(r.Reason))
	}
	b.Queue(`
		INSERT INTO feed_rejected (run_id, row, n, org_id, effect, field, value, reason)
		SELECT @run, r.row, r.n, @org, r.effect, r.field, r.value, r.reason
		FROM unnest(@rows::bigint[], @numbers::smallint[], @effects::smallint[], @fields::text[], @values::text[], @reasons::text[])
			AS r (row, n, effect, field, value, reason)
		ON CONFLICT DO NOTHING`,
		pgx.NamedArgs{
			"run": run.ID, "org": run.OrgID, "rows": rows, "numbers": numbers, "effects": effects, "fields": fields, "values": values, "reasons": reasons,
		})
}

// clean makes a partner's text one that PostgreSQL keeps.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}

// byID sorts ids, so that everybody locks groups in the same order.
func byID(ids []uuid.UUID) []uuid.UUID {
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(ids)
}
