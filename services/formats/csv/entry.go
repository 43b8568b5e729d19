package csv

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/cancertype"
	"cairn.care/services/formats"
)

// reader is one row on its way to an entry. Everything wrong with it is told.
type reader struct {
	row      int
	cells    map[string]string // by path, or by "=heading"
	guessed  map[string]string // by path: the heading from which it is guessed
	options  formats.Options
	group    *groupsv1.Group
	rejected []formats.Rejected
}

// ownWords are what tables of others have words of their own for. What we do not understand of it is kept, not refused.
const ownWords = " kind facilitation phases side_effects audiences demographics age_limits.min_years age_limits.max_years age_limits.strictness intake " +
	"structure.type structure.start_date structure.session_count activities capacity.seats capacity.waitlist cost.type cost.amount cost.sliding_scale " +
	"cost.insurance_accepted confidentiality venue.kind venue.precision accessibility accepts_intake "

func (r *reader) reject(path, reason string, a ...any) {
	if heading, ok := r.guessed[path]; ok && strings.Contains(ownWords, " "+path+" ") {
		r.cells["="+heading] = r.cells[path]
		return
	}
	field := cmp.Or(r.guessed[path], path)
	for _, c := range columns {
		if c.path == path && field == path {
			field = c.heading
		}
	}
	r.rejected = append(r.rejected, *formats.Reject(r.row, cmp.Or(r.options.Columns[path], field), r.cells[path], reason, a...))
}

// Entry decodes a row.
func (Format) Entry(rec formats.Record, o formats.Options) (*formats.Entry, []formats.Rejected) {
	r := &reader{row: rec.Row, options: o, group: &groupsv1.Group{ExternalId: rec.ID, SourceSystem: name}, cells: map[string]string{}, guessed: map[string]string{}}
	var said map[string]string
	if err := json.Unmarshal(rec.Raw, &said); err != nil {
		return nil, []formats.Rejected{*formats.Reject(rec.Row, "", "", "the row cannot be read: %v", err)}
	}
	for key, text := range said {
		path, heading, guessed := strings.Cut(key, "=")
		if guessed && path != "" {
			r.cells[path], r.guessed[path] = text, heading
		} else {
			r.cells[key] = text
		}
	}
	e := r.entry()
	if len(r.rejected) > 0 {
		return nil, r.rejected
	}
	return e, nil
}

func (r *reader) entry() *formats.Entry {
	r.costIsFee()
	for _, c := range columns {
		if text := r.cells[c.path]; text != "" {
			r.cell(c.path, text)
		}
	}
	g := r.group
	r.oneLine()
	e := &formats.Entry{Group: g}
	if g.GetTitle() == "" {
		r.reject("title", "is missing")
	}
	if text := r.cells[pathOpen]; text != "" {
		open, ok := yes(text)
		if !ok {
			r.reject(pathOpen, "must be yes or no")
		}
		e.Closed = !open
	}
	r.fee()
	r.assume()
	r.times()
	r.extensions()
	if rest := r.cells[pathRest]; rest != "" {
		if err := formats.Restore(e, []byte(rest)); err != nil {
			r.reject(pathRest, "%v", err)
		}
	}
	if g.GetFormat() == 0 && !strings.Contains(r.cells[pathRest], `"format"`) {
		r.reject("format", "is missing, and no place or link tells how people meet; write in person, online, hybrid, phone or asynchronous")
	}
	return e
}

// cell sets the field that a path names, if it is one that can be set by itself.
func (r *reader) cell(path, text string) {
	switch path {
	case pathID, pathOpen, pathDays, pathStart, pathEnd, pathRule, pathFrom, pathFee, pathCurrency, pathRest, pathOther:
		return
	case pathFirstDay:
		if d, ok := r.day(path, text); ok {
			if r.group.GetStructure() == nil {
				r.group.Structure = &groupsv1.Group_Structure{}
			}
			r.group.Structure.StartDate = d
		}
		return
	case "venue.location.latitude", "venue.location.longitude":
		r.coordinate(path, text)
		return
	case "venue.address.country":
		code, ok := formats.Country(text)
		if !ok {
			if code, ok = formats.CountryNamed(text); !ok {
				r.reject(path, "must be a country's code of two letters, such as US")
				return
			}
		}
		text = code
	case "online.join_uri", "contact.uri", "guidelines.uri":
		if _, ok := formats.Link(text); !ok {
			host, ok := formats.Link("https://" + text)
			if !ok || !strings.Contains(host, ".") || strings.Contains(text, "@") {
				r.reject(path, "must be a link such as https://example.org/group")
				return
			}
			text = "https://" + text
		}
	}
	md := r.group.ProtoReflect().Descriptor()
	names := strings.Split(path, ".")
	for _, n := range names[:len(names)-1] {
		md = md.Fields().ByTextName(n).Message()
	}
	fd := md.Fields().ByTextName(names[len(names)-1])
	within := func() protoreflect.Message {
		m := r.group.ProtoReflect()
		for _, n := range names[:len(names)-1] {
			m = m.Mutable(m.Descriptor().Fields().ByTextName(n)).Message()
		}
		return m
	}
	if !fd.IsList() {
		if v, ok := r.value(path, fd, text); ok {
			within().Set(fd, v)
		}
		return
	}
	var values []protoreflect.Value
	for _, one := range parted(path, text) {
		v, ok := r.value(path, fd, one)
		if ok && !slices.ContainsFunc(values, v.Equal) { // else said twice
			values = append(values, v)
		}
	}
	if limit, ok := maxItems[path]; ok && len(values) > limit {
		r.reject(path, "has more than %d values", limit)
		return
	}
	if len(values) == 0 {
		return
	}
	list := within().Mutable(fd).List()
	for _, v := range values {
		list.Append(v)
	}
}

// maxItems are the bounds of the group's lists.
var maxItems = map[string]int{
	"languages": 20, "accessibility": 20, "cancer_types": 50, "phases": 10, "side_effects": 30, "audiences": 10, "demographics": 12, "activities": 20,
	"structure.goals": 20, "cost.payers": 100, "venue.address.address_lines": 6,
}

// parted takes a list apart: at semicolons, bars and line ends, at commas too where values are single words; the lines of a
// street at line ends only.
func parted(path, text string) []string {
	marks := ";|\n"
	switch path {
	case "venue.address.address_lines":
		marks = "\n"
	case "structure.goals", "cost.payers":
	default:
		marks += ","
	}
	var out []string
	for s := range strings.FieldsFuncSeq(text, func(c rune) bool { return strings.ContainsRune(marks, c) }) {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// value reads one value of a field.
func (r *reader) value(path string, fd protoreflect.FieldDescriptor, text string) (protoreflect.Value, bool) {
	no := protoreflect.Value{}
	switch fd.Kind() {
	case protoreflect.EnumKind:
		values := fd.Enum().Values()
		var all []string
		for i := 1; i < values.Len(); i++ {
			v := values.Get(i)
			if plain(string(v.Name())) == plain(text) {
				return protoreflect.ValueOfEnum(v.Number()), true
			}
			all = append(all, spoken(v.Name()))
		}
		r.reject(path, "%q is none of %s", text, strings.Join(all, ", "))
		return no, false
	case protoreflect.BoolKind:
		v, ok := yes(text)
		if !ok {
			r.reject(path, "must be yes or no")
		}
		return protoreflect.ValueOfBool(v), ok
	case protoreflect.Int32Kind:
		n, err := strconv.ParseInt(text, 10, 32)
		if most := int64(map[string]int{"capacity.seats": 100_000, "structure.session_count": 1000}[path]); err != nil || n < 0 || n > cmp.Or(most, 120) {
			r.reject(path, "must be a whole number from 0 to %d", cmp.Or(most, 120))
			return no, false
		}
		return protoreflect.ValueOfInt32(int32(n)), true
	}
	switch path {
	case "languages":
		if tag, ok := languageNames[plain(text)]; ok {
			text = tag
		}
	case "cancer_types":
		code, ok := cancerTypes()[plain(text)]
		if !ok {
			r.reject(path, "%q is no cancer type; write a code of GET /v1/cancerTypes, such as breast, or any", text)
			return no, false
		}
		text = code
	}
	if most := maxLength(path); utf8.RuneCountInString(text) > most {
		r.reject(path, "is longer than %d characters", most)
		return no, false
	}
	return protoreflect.ValueOfString(text), true
}

// maxLength is the bound of a text in characters.
func maxLength(path string) int {
	for _, m := range []struct {
		most  int
		paths string
	}{
		{500, "summary"}, {10_000, "description"}, {20_000, "guidelines.text"}, {1000, "venue.directions online.join_uri online.join_instructions contact.uri guidelines.uri"},
		{300, "structure.goals"}, {120, "venue.address.locality venue.address.administrative_area cost.payers"}, {20, "venue.address.postal_code"},
		{80, "online.platform online.phone"}, {64, "time_zone"}, {60, "cancer_types"}, {40, "contact.phone"}, {35, "languages"}, {254, "contact.email"},
	} {
		if slices.Contains(strings.Fields(m.paths), path) {
			return m.most
		}
	}
	return 200
}

// cancerTypes are the codes by what people call them.
var cancerTypes = sync.OnceValue(func() map[string]string {
	byName := map[string]string{}
	for _, t := range cancertype.All() {
		for _, n := range append(cancertype.Names(t.Code), t.Code) {
			byName[plain(n)] = t.Code
		}
	}
	return byName
})

// spoken writes the name of an enum's value for people.
func spoken(n protoreflect.Name) string {
	return strings.ToLower(strings.ReplaceAll(string(n), "_", " "))
}

func yes(text string) (value, ok bool) {
	switch plain(text) {
	case "yes", "y", "true", "1", "x", "open":
		return true, true
	case "no", "n", "false", "0", "closed", "full":
		return false, true
	}
	return false, false
}

func (r *reader) coordinate(path, text string) {
	most := 90.0
	if strings.HasSuffix(path, "longitude") {
		most = 180
	}
	if strings.Count(text, ",") == 1 && !strings.Contains(text, ".") {
		text = strings.Replace(text, ",", ".", 1)
	}
	v, err := strconv.ParseFloat(text, 64)
	other := map[bool]string{true: "venue.location.longitude", false: "venue.location.latitude"}[most == 90]
	switch {
	case err != nil || !(v >= -most && v <= most):
		r.reject(path, "must be degrees from -%v to %v", most, most)
		return
	case r.cells[other] == "":
		r.reject(path, "stands without the other coordinate")
		return
	}
	if r.group.GetVenue() == nil {
		r.group.Venue = &groupsv1.Group_Venue{}
	}
	if r.group.GetVenue().GetLocation() == nil {
		r.group.Venue.Location = &latlng.LatLng{}
	}
	if most == 90 {
		r.group.Venue.Location.Latitude = v
	} else {
		r.group.Venue.Location.Longitude = v
	}
}

func (r *reader) day(path, text string) (*date.Date, bool) {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		r.reject(path, "must be a date such as 2026-04-07")
		return nil, false
	}
	return &date.Date{Year: int32(t.Year()), Month: int32(t.Month()), Day: int32(t.Day())}, true
}

// assume fills what a table often leaves out, and a group needs.
func (r *reader) assume() {
	g := r.group
	g.Kind = cmp.Or(g.GetKind(), groupsv1.Group_PEER_SUPPORT)
	g.Facilitation = cmp.Or(g.GetFacilitation(), groupsv1.Group_PEER_LED)
	if len(g.GetLanguages()) == 0 {
		g.Languages = []string{cmp.Or(r.options.Language, "en")}
	}
	if len(g.GetCancerTypes()) == 0 {
		g.CancerTypes = cancertype.Told(g.GetTitle(), g.GetSummary(), g.GetDescription())
	}
	if g.GetSummary() == "" && g.GetDescription() == "" {
		g.Summary = formats.MeetingSummary(g)
	}
	if g.GetConfidentiality() == 0 {
		g.Confidentiality = groupsv1.Group_GUIDELINES_AGREEMENT
		if g.GetKind() == groupsv1.Group_GROUP_THERAPY {
			g.Confidentiality = groupsv1.Group_LEGALLY_MANDATED
		}
	}
	if v := g.GetVenue(); v.GetLocation() != nil && v.GetPrecision() == 0 {
		v.Precision = groupsv1.Group_Venue_EXACT
	}
	if g.GetFormat() != 0 {
		return
	}
	here := len(g.GetVenue().GetAddress().GetAddressLines()) > 0 || g.GetVenue().GetLabel() != "" || g.GetVenue().GetLocation() != nil
	link := g.GetOnline().GetJoinUri() != "" || g.GetOnline().GetPlatform() != ""
	switch {
	case here && link:
		g.Format = groupsv1.Group_HYBRID
	case link:
		g.Format = groupsv1.Group_ONLINE
	case here:
		g.Format = groupsv1.Group_IN_PERSON
	case g.GetOnline().GetPhone() != "":
		g.Format = groupsv1.Group_PHONE
	}
}

// extensions keeps what has no column.
func (r *reader) extensions() {
	kept := map[string]any{}
	if other := r.cells[pathOther]; other != "" {
		if err := json.Unmarshal([]byte(other), &kept); err != nil || kept == nil {
			r.reject(pathOther, "must be a JSON object, as Cairn writes it")
			return
		}
	}
	for k, v := range r.cells {
		if heading, ok := strings.CutPrefix(k, "="); ok {
			kept[heading] = v
		}
	}
	if len(kept) == 0 {
		return
	}
	s, err := structpb.NewStruct(map[string]any{name: kept})
	if err != nil {
		r.reject("", "the columns without a field cannot be kept: %v", err)
		return
	}
	if n := proto.Size(s); n > maxExtensions {
		r.reject("", "the columns without a field take %d bytes; at most %d are kept", n, maxExtensions)
	}
	r.group.Extensions = s
}
