package groups

import (
	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

// noLimit stands for an age that nobody reaches.
const noLimit = 1000

// queueDirectory queues the group's row in the directory, or its removal when the public may not see the group.
func queueDirectory(b *pgx.Batch, k *groupKey, g *groupsv1.Group) {
	if s := k.standing(); s.deleted || k.MergedInto != nil || (s.state != groupsv1.Group_PUBLISHED && s.state != groupsv1.Group_PAUSED) {
		if k.Revision > 1 {
			b.Queue(`DELETE FROM directory WHERE group_id = @id`, pgx.NamedArgs{"id": k.ID})
		}
		return
	}
	b.Queue(`
		INSERT INTO directory (group_id, org_id, accepts_intake, words, title_words, kind, facilitation, format, cancer_types, phases,
			side_effects, audiences, demographics, accessibility, languages, cost_type, cost_currency, cost_units, cost_nanos, payers,
			size_class, min_age, max_age, x, y, z)
		VALUES (@id, @org, @accepts_intake, @words, @title_words, @kind, @facilitation, @format, @cancer_types, @phases,
			@side_effects, @audiences, @demographics, @accessibility, @languages, @cost_type, @cost_currency, @cost_units, @cost_nanos, @payers,
			@size_class, @min_age, @max_age, @x, @y, @z)
		ON CONFLICT (group_id) DO UPDATE SET accepts_intake = excluded.accepts_intake, words = excluded.words, title_words = excluded.title_words,
			kind = excluded.kind, facilitation = excluded.facilitation, format = excluded.format, cancer_types = excluded.cancer_types,
			phases = excluded.phases, side_effects = excluded.side_effects, audiences = excluded.audiences, demographics = excluded.demographics,
			accessibility = excluded.accessibility, languages = excluded.languages, cost_type = excluded.cost_type,
			cost_currency = excluded.cost_currency, cost_units = excluded.cost_units, cost_nanos = excluded.cost_nanos, payers = excluded.payers,
			size_class = excluded.size_class, min_age = excluded.min_age, max_age = excluded.max_age, x = excluded.x, y = excluded.y, z = excluded.z`,
		directoryArgs(k, g))
}

// directoryArgs returns the values of the directory's columns, from the group's public part only.
func directoryArgs(k *groupKey, g *groupsv1.Group) pgx.NamedArgs {
	p, _ := split(written(g))
	a := pgx.NamedArgs{
		"id": k.ID, "org": k.OrgID, "accepts_intake": k.State == int32(groupsv1.Group_PUBLISHED),
		"words":       words(p.GetTitle(), p.GetSummary(), p.GetDescription(), p.GetVenue().GetLabel(), p.GetVenue().GetAddress().GetLocality()),
		"title_words": words(p.GetTitle()),
		"kind":        int32(p.GetKind()), "facilitation": int32(p.GetFacilitation()), "format": int32(p.GetFormat()),
		"cancer_types": orEmpty(p.GetCancerTypes()), "phases": numbers(p.GetPhases()), "side_effects": numbers(p.GetSideEffects()),
		"audiences": numbers(p.GetAudiences()), "demographics": numbers(p.GetDemographics()), "accessibility": numbers(p.GetAccessibility()),
		"languages": widened(p.GetLanguages()),
		"cost_type": int32(p.GetCost().GetType()), "cost_currency": p.GetCost().GetAmount().GetCurrencyCode(),
		"cost_units": p.GetCost().GetAmount().GetUnits(), "cost_nanos": p.GetCost().GetAmount().GetNanos(), "payers": lowered(p.GetCost().GetPayers()),
		"size_class": int32(p.GetCapacity().GetSizeClass()),
		"min_age":    0, "max_age": noLimit, "x": nil, "y": nil, "z": nil,
	}
	if l := p.GetAgeLimits(); l.GetStrictness() == groupsv1.Group_AgeLimits_STRICT {
		a["min_age"] = l.GetMinYears()
		if l.GetMaxYears() > 0 {
			a["max_age"] = l.GetMaxYears()
		}
	}
	if at := p.GetVenue().GetLocation(); at != nil {
		pt := pointOf(at)
		a["x"], a["y"], a["z"] = pt.x, pt.y, pt.z
	}
	return a
}

// numbers returns enum values as PostgreSQL keeps them; never nil.
func numbers[E ~int32](values []E) []int32 {
	out := make([]int32, len(values))
	for i, v := range values {
		out[i] = int32(v)
	}
	return out
}
