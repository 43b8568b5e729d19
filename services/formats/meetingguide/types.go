package meetingguide

import (
	"slices"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

// meaning is what a type code says in the fields of a group. Codes that say nothing there, and all the others too, are
// kept in the extensions.
type meaning struct {
	language      string
	demographic   groupsv1.Group_Demographic
	note          string // for demographic_note
	accessibility groupsv1.Group_Accessibility
	activity      groupsv1.Group_Activity
}

var meanings = map[string]meaning{
	"AF": {language: "af"}, "AM": {language: "am"}, "AR": {language: "ar"}, "BG": {language: "bg"}, "DA": {language: "da"}, "DE": {language: "de"},
	"EL": {language: "el"}, "EN": {language: "en"}, "FA": {language: "fa"}, "FI": {language: "fi"}, "FR": {language: "fr"}, "HE": {language: "he"},
	"HI": {language: "hi"}, "HR": {language: "hr"}, "HU": {language: "hu"}, "IS": {language: "is"}, "ITA": {language: "it"}, "JA": {language: "ja"},
	"KA": {language: "ka"}, "KOR": {language: "ko"}, "LT": {language: "lt"}, "ML": {language: "ml"}, "MT": {language: "mt"}, "NE": {language: "ne"},
	"NL": {language: "nl"}, "NO": {language: "no"}, "POL": {language: "pl"}, "POR": {language: "pt"}, "PUN": {language: "pa"}, "RUS": {language: "ru"},
	"S": {language: "es"}, "SK": {language: "sk"}, "SL": {language: "sl"}, "SV": {language: "sv"}, "TH": {language: "th"}, "TL": {language: "tl"},
	"TUR": {language: "tr"}, "UK": {language: "uk"},

	"ASL": {accessibility: groupsv1.Group_SIGN_LANGUAGE},
	"QSL": {accessibility: groupsv1.Group_SIGN_LANGUAGE},
	"RSL": {accessibility: groupsv1.Group_SIGN_LANGUAGE},
	"X":   {accessibility: groupsv1.Group_STEP_FREE},
	"XB":  {accessibility: groupsv1.Group_ACCESSIBLE_TOILET},
	"BA":  {accessibility: groupsv1.Group_CHILDCARE},
	"FF":  {accessibility: groupsv1.Group_FRAGRANCE_FREE},

	"W": {demographic: groupsv1.Group_WOMEN}, "M": {demographic: groupsv1.Group_MEN}, "Y": {demographic: groupsv1.Group_YOUNG_ADULTS},
	"SEN": {demographic: groupsv1.Group_OLDER_ADULTS}, "LGBTQ": {demographic: groupsv1.Group_LGBTQ}, "LGBTQIAA+": {demographic: groupsv1.Group_LGBTQ},
	"G": {demographic: groupsv1.Group_LGBTQ}, "L": {demographic: groupsv1.Group_LGBTQ}, "BI": {demographic: groupsv1.Group_LGBTQ},
	"T": {demographic: groupsv1.Group_LGBTQ}, "NB": {demographic: groupsv1.Group_LGBTQ},
	"N":   {demographic: groupsv1.Group_ETHNIC_COMMUNITY, note: "Native American"},
	"NDG": {demographic: groupsv1.Group_ETHNIC_COMMUNITY, note: "Indigenous"},
	"POC": {demographic: groupsv1.Group_ETHNIC_COMMUNITY, note: "People of color"},

	"D": {activity: groupsv1.Group_OPEN_DISCUSSION}, "XT": {activity: groupsv1.Group_OPEN_DISCUSSION}, "SP": {activity: groupsv1.Group_PERSONAL_STORIES},
	"11": {activity: groupsv1.Group_MINDFULNESS}, "MED": {activity: groupsv1.Group_MINDFULNESS}, "12X12": {activity: groupsv1.Group_WRITING},
	"ABSI": {activity: groupsv1.Group_WRITING}, "B": {activity: groupsv1.Group_WRITING}, "DR": {activity: groupsv1.Group_WRITING},
	"GR": {activity: groupsv1.Group_WRITING}, "LIT": {activity: groupsv1.Group_WRITING}, "LS": {activity: groupsv1.Group_WRITING},
	"ST": {activity: groupsv1.Group_EDUCATIONAL_SESSION}, "TR": {activity: groupsv1.Group_EDUCATIONAL_SESSION},
	"BRK": {activity: groupsv1.Group_COOKING}, "H": {activity: groupsv1.Group_SOCIAL},
}

// applyTypes adds what the codes say.
func applyTypes(g *groupsv1.Group, types []string) {
	for _, code := range types {
		m := meanings[code]
		if m.language != "" && !slices.Contains(g.GetLanguages(), m.language) {
			g.Languages = append(g.Languages, m.language)
		}
		if m.demographic != 0 && !slices.Contains(g.GetDemographics(), m.demographic) {
			g.Demographics = append(g.Demographics, m.demographic)
		}
		if m.note != "" {
			if g.GetDemographicNote() != "" {
				g.DemographicNote += ", "
			}
			g.DemographicNote += m.note
		}
		if m.accessibility != 0 && !slices.Contains(g.GetAccessibility(), m.accessibility) {
			g.Accessibility = append(g.Accessibility, m.accessibility)
		}
		if m.activity != 0 && !slices.Contains(g.GetActivities(), m.activity) {
			g.Activities = append(g.Activities, m.activity)
		}
	}
}
