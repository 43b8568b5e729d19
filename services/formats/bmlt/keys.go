package bmlt

import (
	"cmp"
	"slices"

	"golang.org/x/text/language"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

// meaning is what a format says in the fields of a group.
type meaning struct {
	language      string
	demographic   groupsv1.Group_Demographic
	accessibility groupsv1.Group_Accessibility
	activity      groupsv1.Group_Activity
}

// meanings are what the formats say that every server is set up with, by their keys in English. All others, and what no
// field holds, stay in the extensions.
var meanings = map[string]meaning{
	"ES": {language: "es"}, "SL": {accessibility: groupsv1.Group_SIGN_LANGUAGE}, "WC": {accessibility: groupsv1.Group_STEP_FREE},
	"GL": {demographic: groupsv1.Group_LGBTQ}, "M": {demographic: groupsv1.Group_MEN},
	"W": {demographic: groupsv1.Group_WOMEN}, "YP": {demographic: groupsv1.Group_YOUNG_ADULTS}, "Y": {demographic: groupsv1.Group_YOUNG_ADULTS},
	"D": {activity: groupsv1.Group_OPEN_DISCUSSION}, "RR": {activity: groupsv1.Group_OPEN_DISCUSSION}, "Rr": {activity: groupsv1.Group_OPEN_DISCUSSION},
	"To": {activity: groupsv1.Group_OPEN_DISCUSSION}, "AB": {activity: groupsv1.Group_OPEN_DISCUSSION}, "QA": {activity: groupsv1.Group_OPEN_DISCUSSION},
	"So": {activity: groupsv1.Group_PERSONAL_STORIES}, "SD": {activity: groupsv1.Group_PERSONAL_STORIES}, "ME": {activity: groupsv1.Group_MINDFULNESS},
	"BT": {activity: groupsv1.Group_WRITING}, "BK": {activity: groupsv1.Group_WRITING}, "IP": {activity: groupsv1.Group_WRITING}, "IW": {activity: groupsv1.Group_WRITING},
	"JT": {activity: groupsv1.Group_WRITING}, "LC": {activity: groupsv1.Group_WRITING}, "SG": {activity: groupsv1.Group_WRITING},
	"St": {activity: groupsv1.Group_EDUCATIONAL_SESSION}, "Tr": {activity: groupsv1.Group_EDUCATIONAL_SESSION}, "TW": {activity: groupsv1.Group_EDUCATIONAL_SESSION},
	"CP": {activity: groupsv1.Group_EDUCATIONAL_SESSION}, "NS": {accessibility: groupsv1.Group_FRAGRANCE_FREE},
}

// speak sets what the formats and the meeting's language say.
func (m *meeting) speak(g *groupsv1.Group, keys []string) {
	said := m.Text("lang_enum", 35)
	if tag, err := language.Parse(said); err == nil && said != "" {
		said = tag.String()
	} else {
		m.Use("lang_enum", said == "")
		said = ""
	}
	for _, k := range keys {
		k := meanings[k]
		if k.language != "" && !slices.Contains(g.GetLanguages(), k.language) {
			g.Languages = append(g.Languages, k.language)
		}
		if k.demographic != 0 && !slices.Contains(g.GetDemographics(), k.demographic) {
			g.Demographics = append(g.Demographics, k.demographic)
		}
		if k.accessibility != 0 && !slices.Contains(g.GetAccessibility(), k.accessibility) {
			g.Accessibility = append(g.Accessibility, k.accessibility)
		}
		if k.activity != 0 && !slices.Contains(g.GetActivities(), k.activity) {
			g.Activities = append(g.Activities, k.activity)
		}
	}
	if len(g.GetLanguages()) == 0 {
		g.Languages = []string{cmp.Or(said, m.options.Language, "en")}
	}
}
