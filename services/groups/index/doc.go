package index

import "github.com/google/uuid"

// Facet is a property of groups whose values are looked up exactly.
type Facet uint8

// The facets. A value is what the caller says, compared byte by byte.
const (
	Kind Facet = iota
	Facilitation
	Format
	CancerType
	Phase
	SideEffect
	Audience
	Demographic
	Accessibility
	Language
	SizeClass
	CostType
	Payer
	Intake
	Confidentiality
	Activity
	Structure
	VenueKind
	State
	Organization

	// Facets is how many there are.
	Facets = iota
)

// Doc is what the index keeps of one group. It holds public data only.
type Doc struct {
	ID uuid.UUID

	Title string
	Texts []string // where else words are found: summary, description, venue, city

	Values [Facets][]string // of each facet; a value that stands for "says nothing" is the caller's to choose

	MinAge, MaxAge uint8 // completed years that strict limits let in; 0 and 255 where there are none

	// Gift says that taking part costs nothing, or what one wants to give; else Fee is what it costs, where that is known.
	Gift bool
	Fee  Money

	Place  Point // the zero Point: none
	Remote bool  // can be joined from anywhere
	Address

	Availability
}

// Address names a place, for finding places by name.
type Address struct {
	Locality, Region, PostalCode, Country string
}

// Availability is what changes often of a group.
type Availability struct {
	OpenSeats int32     // negative: unlimited
	Sessions  []Session // those to come, soonest first
}

// Session is the start of a session: the instant, and the minute of the week on its own wall clock.
type Session struct {
	Start  int64 // seconds since 1970
	Minute int16 // since Monday 00:00
}

// Money is an amount in a currency; the zero value is none.
type Money struct {
	Currency string // ISO 4217
	Units    int64
	Nanos    int32
}

// amount returns the money in billionths, as far as they go.
func (m Money) amount() int64 {
	const most = 9_000_000_000
	return min(m.Units, most)*1_000_000_000 + int64(m.Nanos)
}

// Change is new seats and sessions of a group.
type Change struct {
	ID uuid.UUID
	Availability
}

// Batch is a set of changes, at most one of each kind for a group. They are absolute: applying a batch again changes nothing.
type Batch struct {
	Upserts  []Doc       // groups that are public, as they are now
	Changes  []Change    // of groups that are in the index; others are passed over
	Removals []uuid.UUID // groups that are not public any more
}
