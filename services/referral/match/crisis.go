package match

import referralv1 "cairn.care/gen/cairn/referral/v1"

// CrisisLines returns the crisis lines of a country (ISO 3166-1 alpha-2), then the list that covers all countries; it
// is never empty.
func CrisisLines(country string) []*referralv1.CrisisResource {
	var lines []*referralv1.CrisisResource
	for _, l := range crisisLines() {
		if l.country == country && country != "" || l.country == "" {
			lines = append(lines, &referralv1.CrisisResource{
				Country: l.country, Title: l.title, Phone: l.phone, TextNumber: l.text, Uri: l.uri, Languages: l.languages, Hours: l.hours,
			})
		}
	}
	return lines
}

type crisisLine struct {
	country, title, phone, text, uri string
	languages                        []string
	hours                            string
}

const always = "24 hours, every day"

// crisisLines is the data: national lines as their operators publish them. Whoever changes a row checks the operator's
// own page; the last row is for countries that are not here.
func crisisLines() []crisisLine {
	return []crisisLine{
		{"AT", "TelefonSeelsorge", "142", "", "https://www.telefonseelsorge.at", []string{"de"}, always},
		{"AU", "Lifeline", "13 11 14", "0477 13 11 14", "https://www.lifeline.org.au", []string{"en"}, always},
		{"BE", "Zelfmoordlijn 1813", "1813", "", "https://www.zelfmoord1813.be", []string{"nl"}, always},
		{"BE", "Centre de Prévention du Suicide", "0800 32 123", "", "https://www.preventionsuicide.be", []string{"fr"}, always},
		{"BR", "Centro de Valorização da Vida", "188", "", "https://cvv.org.br", []string{"pt"}, always},
		{"CA", "9-8-8 Suicide Crisis Helpline", "988", "988", "https://988.ca", []string{"en", "fr"}, always},
		{"CH", "Die Dargebotene Hand / La Main Tendue / Telefono Amico", "143", "", "https://www.143.ch", []string{"de", "fr", "it"}, always},
		{"DE", "TelefonSeelsorge", "0800 111 0 111", "", "https://www.telefonseelsorge.de", []string{"de"}, always},
		{"DK", "Livslinien", "70 201 201", "", "https://www.livslinien.dk", []string{"da"}, "every day, day and evening"},
		{"ES", "Línea 024 de atención a la conducta suicida", "024", "", "https://www.sanidad.gob.es/linea024/home.htm", []string{"es"}, always},
		{"FR", "3114, numéro national de prévention du suicide", "3114", "", "https://3114.fr", []string{"fr"}, always},
		{"GB", "Samaritans", "116 123", "", "https://www.samaritans.org", []string{"en"}, always},
		{"GB", "Shout", "", "85258", "https://giveusashout.org", []string{"en"}, always},
		{"IE", "Samaritans", "116 123", "", "https://www.samaritans.org/ireland", []string{"en"}, always},
		{"IN", "Tele-MANAS", "14416", "", "https://telemanas.mohfw.gov.in", []string{"hi", "en"}, always},
		{"MX", "Línea de la Vida", "800 911 2000", "", "https://www.gob.mx/salud/conadic", []string{"es"}, always},
		{"NL", "113 Zelfmoordpreventie", "113", "", "https://www.113.nl", []string{"nl"}, always},
		{"NO", "Mental Helse", "116 123", "", "https://mentalhelse.no", []string{"no"}, always},
		{"NZ", "1737, need to talk?", "1737", "1737", "https://1737.org.nz", []string{"en"}, always},
		{"SE", "Självmordslinjen", "90101", "", "https://mind.se", []string{"sv"}, always},
		{"US", "988 Suicide & Crisis Lifeline", "988", "988", "https://988lifeline.org", []string{"en", "es"}, always},
		{"", "Find a Helpline: crisis lines of every country", "", "", "https://findahelpline.com", []string{"en"}, always},
	}
}
