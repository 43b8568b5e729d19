package index

import (
	"bytes"
	"cmp"
	"time"

	"github.com/google/uuid"
)

// Order is how results stand.
type Order uint8

// The orders. All end with the id, so that no two groups stand alike.
const (
	Soonest   Order = iota // by the next session; groups with none last
	Distance               // by the distance from Near; groups without a place last
	Relevance              // by the points for words and ranked cancer types, then by distance where Near is set, else by the next session
)

// Filter asks for groups with one of the values of a facet, or with all of them.
type Filter struct {
	Facet  Facet
	Values []string
	All    bool
}

// Preference ranks groups by a facet: each gets the points of the best grade of which it has a value.
type Preference struct {
	Facet  Facet
	Grades []Grade
}

// Grade is what one of the values is worth, 1 point or more.
type Grade struct {
	Values []string
	Points int
}

// Span is a part of the week in minutes from Monday 00:00; To is exclusive, at most a week.
type Span struct{ From, To int32 }

// Near is a circle around a point.
type Near struct {
	Point  Point
	Chord  float64 // the squared chord of the radius (see [Chord]); 0: any distance
	Remote bool    // groups that can be joined from anywhere are in it too
}

// Query is what to find. The zero value of a field asks for nothing.
type Query struct {
	Words   string // each must occur, or stand for a cancer or side effect that the group is about; see [Index.Search]
	Loose   bool   // one of the words is enough, as the first page of the search told
	Filters []Filter
	Ranked  []string // codes of cancer types: with Relevance, groups about them come first

	Preferences []Preference // with Relevance

	HasAge bool
	Age    uint8 // completed years

	MaxCost  *Money // gifts, and fees in the same currency up to this
	MinSeats int32
	Near     *Near
	Box      *Box

	Times  []Span         // a session to come must start in one of them
	Zone   *time.Location // whose wall clock Times are of; nil: each group's own
	Before *time.Time     // a session to come must start before; nil: at any time

	Order Order
	Now   time.Time // from which sessions are to come
	After *Key      // the last result of the page before
	Limit int

	Count []Facet // whose values to count
}

// Key is where a group stands in the order of a search; less is better.
type Key struct {
	First  float64
	Second float64
	ID     uuid.UUID
}

// Compare orders keys.
func (k Key) Compare(l Key) int {
	return cmp.Or(cmp.Compare(k.First, l.First), cmp.Compare(k.Second, l.Second), bytes.Compare(k.ID[:], l.ID[:]))
}

// Hit is a group that was found.
type Hit struct {
	Key
	Chord float64 // squared, to the point of Near; negative: the group has no place, or none was asked for
}

// Result is what a search found.
type Result struct {
	Hits []Hit // at most Limit
	More bool  // there are others behind the last

	// Loose says that no group has all the words, so that these are those that have some. Further pages are asked for so.
	Loose bool

	// With Count: how many groups there are in all, and of each facet the values with how many groups have them among those that meet
	// everything but the filters of that facet.
	Total  int
	Counts map[Facet][]Count

	// Words are those that the query reached: its own, with the names of the cancers it asks for and the nearest to misspelt ones.
	Words []string
}

// Count is how many groups have a value.
type Count struct {
	Value  string
	Groups int
}

// Values of keys for groups that have no such property: they come last.
const (
	Farthest = 5.0  // more than any squared chord of the unit sphere
	Never    = 1e18 // later than any session, in seconds since 1970
)
