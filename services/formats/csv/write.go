package csv

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/reflect/protoreflect"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/formats"
)

// Header returns the row of headings, with its line end.
func Header() []byte {
	var cells []string
	for _, c := range columns {
		if !c.in {
			cells = append(cells, c.heading)
		}
	}
	return line(cells)
}

// Write writes a group as a row, with its line end, and says what readers learn only from the column "cairn", as JSON.
func Write(l formats.Listing) ([]byte, []formats.Loss, error) {
	g, times := formats.Timed(l.Group)
	_, id, _ := strings.Cut(g.GetName(), "/")
	cells := map[string]string{pathID: id, pathOpen: spokenBool(!formats.Closed(g))}
	first(cells, g)
	for _, c := range columns {
		if _, set := cells[c.path]; !set && !c.in && c.path != pathRest && c.path != pathOther {
			cells[c.path] = cell(g.ProtoReflect(), c.path)
		}
	}
	if kept := g.GetExtensions().GetFields()[name].GetStructValue(); kept != nil {
		other, err := json.Marshal(kept.AsMap(), json.Deterministic(true))
		if err != nil {
			return nil, nil, fmt.Errorf("encode the other columns: %w", err)
		}
		cells[pathOther] = string(other)
	}
	rest, losses, err := left(g, times, cells)
	if err != nil {
		return nil, nil, err
	}
	cells[pathRest] = rest
	var row []string
	for _, c := range columns {
		if !c.in {
			row = append(row, cells[c.path])
		}
	}
	return line(row), append(losses, beside(g)...), nil
}

// left reads the cells back, and returns as JSON what they do not say of the group, whose regular times are from the field times.
func left(g *groupsv1.Group, times string, cells map[string]string) (string, []formats.Loss, error) {
	said := map[string]string{}
	for path, text := range cells {
		if text = strings.TrimSpace(text); text != "" {
			said[path] = text
		}
	}
	said[pathRest] = `{"format":"FORMAT_UNSPECIFIED"}` // so that a group is read whose cells do not tell it
	if g.GetFormat() != 0 {
		delete(said, pathRest)
	}
	r := &reader{row: 1, cells: said, group: &groupsv1.Group{}}
	understood := r.entry()
	for len(r.rejected) > 0 { // what its own column cannot hold goes to the rest
		dropped := false
		for _, one := range r.rejected {
			for _, c := range columns {
				if c.heading == one.Field && said[c.path] != "" && c.path != "title" {
					delete(said, c.path)
					delete(cells, c.path)
					dropped = true
				}
			}
		}
		if !dropped {
			return "", nil, fmt.Errorf("the group cannot be written: %+v", r.rejected)
		}
		r = &reader{row: 1, cells: said, group: &groupsv1.Group{}}
		understood = r.entry()
	}
	rest, paths, err := formats.Rest(g, understood)
	if err != nil {
		return "", nil, err
	}
	var losses []formats.Loss
	for _, p := range paths {
		if p == "regular_times" {
			p = times
		}
		losses = append(losses, formats.Loss{Field: p, Reason: `Its column cannot say it all; the column "cairn" does, as JSON, which Cairn reads.`})
	}
	return string(rest), losses, nil
}

// first writes the first regular time, and the fee.
func first(cells map[string]string, g *groupsv1.Group) {
	cells[pathDays], cells[pathStart], cells[pathEnd], cells[pathRule], cells[pathFrom] = "", "", "", "", ""
	if times := g.GetRegularTimes(); len(times) > 0 {
		t := times[0]
		cells[pathStart] = t.GetStartTime()
		if start, ok := formats.ClockTime(t.GetStartTime()); ok {
			end := start + int(t.GetDuration().AsDuration()/time.Minute)
			cells[pathEnd] = fmt.Sprintf("%02d:%02d", end/60%24, end%60)
		}
		days, weekly := formats.WeekDays(t)
		var names []string
		for _, d := range days {
			names = append(names, d.String())
		}
		if weekly && formats.Weekly(days, 0, 60, "").GetRrule() == t.GetRrule() {
			cells[pathDays] = strings.Join(names, "; ")
		} else {
			cells[pathRule] = t.GetRrule()
		}
		cells[pathFrom] = day(t.GetStartDate())
	}
	cells[pathFirstDay] = day(g.GetStructure().GetStartDate())
	cells[pathFee], cells[pathCurrency] = amount(g.GetCost().GetAmount()), g.GetCost().GetAmount().GetCurrencyCode()
}

func day(d *date.Date) string {
	if d == nil {
		return ""
	}
	return fmt.Sprintf("%04d-%02d-%02d", d.GetYear(), d.GetMonth(), d.GetDay())
}

func amount(m *money.Money) string {
	if m == nil {
		return ""
	}
	cents := strings.TrimRight(fmt.Sprintf("%09d", m.GetNanos()), "0")
	for cents != "" && len(cents) < 2 {
		cents += "0"
	}
	return strings.TrimSuffix(fmt.Sprintf("%d.%s", m.GetUnits(), cents), ".")
}

// cell writes the field that a path names.
func cell(m protoreflect.Message, path string) string {
	names := strings.Split(path, ".")
	for _, n := range names[:len(names)-1] {
		fd := m.Descriptor().Fields().ByTextName(n)
		if !m.Has(fd) {
			return ""
		}
		m = m.Get(fd).Message()
	}
	fd := m.Descriptor().Fields().ByTextName(names[len(names)-1])
	if !fd.IsList() {
		return text(fd, m.Get(fd))
	}
	list, mark := m.Get(fd).List(), "; "
	if path == "venue.address.address_lines" {
		mark = "\n"
	}
	all := make([]string, list.Len())
	for i := range all {
		all[i] = text(fd, list.Get(i))
	}
	return strings.Join(all, mark)
}

func text(fd protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch fd.Kind() {
	case protoreflect.EnumKind:
		if v.Enum() == 0 {
			return ""
		}
		return spoken(cmp.Or(fd.Enum().Values().ByNumber(v.Enum()), fd.Enum().Values().Get(0)).Name())
	case protoreflect.BoolKind:
		return spokenBool(v.Bool())
	case protoreflect.DoubleKind:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	}
	return v.String()
}

func spokenBool(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// line writes cells as a line (RFC 4180 §2), none of which is a formula.
func line(cells []string) []byte {
	var out []byte
	for i, c := range cells {
		if i > 0 {
			out = append(out, ',')
		}
		c = guarded(c)
		if strings.ContainsAny(c, "\",;|\t\r\n") || strings.TrimSpace(c) != c {
			out = append(out, '"')
			out = append(out, strings.ReplaceAll(c, `"`, `""`)...)
			out = append(out, '"')
		} else {
			out = append(out, c...)
		}
	}
	return append(out, '\r', '\n')
}

// beside says what of a group stands outside of what feeds say.
func beside(g *groupsv1.Group) []formats.Loss {
	var out []formats.Loss
	if len(g.GetFacilitators()) > 0 {
		out = append(out, formats.Loss{Field: "facilitators", Reason: "The table does not say who leads."})
	}
	a := g.GetAvailability()
	if len(a.GetPlannedTimes()) > 0 {
		out = append(out, formats.Loss{Field: "availability.planned_times", Reason: "The row has the group's regular times, not what is planned beside them."})
	}
	if len(a.GetNextSessions()) > 0 && len(g.GetRegularTimes()) == 0 {
		out = append(out, formats.Loss{Field: "availability.next_sessions", Reason: "The table says how times come again, not single sessions."})
	}
	if a != nil && (a.OpenSeats != nil || a.GetWaitlistLength() > 0) {
		out = append(out, formats.Loss{Field: "availability.open_seats", Reason: "The table does not say whether seats are free: they change too often for it."})
	}
	return out
}
