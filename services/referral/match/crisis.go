package match

import referralv1 "cairn.care/gen/cairn/referral/v1"

// CrisisLines returns the crisis lines of a country (ISO 3166-1 alpha-2), then the list that covers all countries; it
// is never empty. What is ours to say of them is said in one of [Languages].
func CrisisLines(country, language string) []*referralv1.CrisisResource {
	t := speak(language)
	var lines []*referralv1.CrisisResource
	for _, l := range crisisLines() {
		if l.country == country && country != "" || l.country == "" {
			lines = append(lines, &referralv1.CrisisResource{
				Country: l.country, Title: l.name(t), Phone: l.phone, TextNumber: l.text, Uri: l.uri, Languages: l.languages, Hours: t.say(l.hours),
			})
		}
	}
	return lines
}

type crisisLine struct {
	country, title, phone, text, uri string
	languages                        []string
	hours                            text
}

// name is what its operator calls it; the list of all countries' lines has no title of its own.
func (l crisisLine) name(t *tongue) string {
	if l.title == "" {
		return t.say(findAHelpline)
	}
	return l.title
}

// crisisLines is the data: national lines as their operators publish them. Whoever changes a row checks the operator's
// own page; the last row is for countries that are not here.
func crisisLines() []crisisLine {
	return []crisisLine{
		{"AT", "TelefonSeelsorge", "142", "", "https://www.telefonseelsorge.at", []string{"de"}, roundTheClock},
		{"AU", "Lifeline", "13 11 14", "0477 13 11 14", "https://www.lifeline.org.au", []string{"en"}, roundTheClock},
		{"BE", "Zelfmoordlijn 1813", "1813", "", "https://www.zelfmoord1813.be", []string{"nl"}, roundTheClock},
		{"BE", "Centre de Prévention du Suicide", "0800 32 123", "", "https://www.preventionsuicide.be", []string{"fr"}, roundTheClock},
		{"BR", "Centro de Valorização da Vida", "188", "", "https://cvv.org.br", []string{"pt"}, roundTheClock},
		{"CA", "9-8-8 Suicide Crisis Helpline", "988", "988", "https://988.ca", []string{"en", "fr"}, roundTheClock},
		{"CH", "Die Dargebotene Hand / La Main Tendue / Telefono Amico", "143", "", "https://www.143.ch", []string{"de", "fr", "it"}, roundTheClock},
		{"DE", "TelefonSeelsorge", "0800 111 0 111", "", "https://www.telefonseelsorge.de", []string{"de"}, roundTheClock},
		{"DK", "Livslinien", "70 201 201", "", "https://www.livslinien.dk", []string{"da"}, dayAndEvening},
		{"ES", "Línea 024 de atención a la conducta suicida", "024", "", "https://www.sanidad.gob.es/linea024/home.htm", []string{"es"}, roundTheClock},
		{"FR", "3114, numéro national de prévention du suicide", "3114", "", "https://3114.fr", []string{"fr"}, roundTheClock},
		{"GB", "Samaritans", "116 123", "", "https://www.samaritans.org", []string{"en"}, roundTheClock},
		{"GB", "Shout", "", "85258", "https://giveusashout.org", []string{"en"}, roundTheClock},
		{"IE", "Samaritans", "116 123", "", "https://www.samaritans.org/ireland", []string{"en"}, roundTheClock},
		{"IN", "Tele-MANAS", "14416", "", "https://telemanas.mohfw.gov.in", []string{"hi", "en"}, roundTheClock},
		{"MX", "Línea de la Vida", "800 911 2000", "", "https://www.gob.mx/salud/conadic", []string{"es"}, roundTheClock},
		{"NL", "113 Zelfmoordpreventie", "113", "", "https://www.113.nl", []string{"nl"}, roundTheClock},
		{"NO", "Mental Helse", "116 123", "", "https://mentalhelse.no", []string{"no"}, roundTheClock},
		{"NZ", "1737, need to talk?", "1737", "1737", "https://1737.org.nz", []string{"en"}, roundTheClock},
		{"SE", "Självmordslinjen", "90101", "", "https://mind.se", []string{"sv"}, roundTheClock},
		{"US", "988 Suicide & Crisis Lifeline", "988", "988", "https://988lifeline.org", []string{"en", "es"}, roundTheClock},
		{"", "", "", "", "https://findahelpline.com", []string{"en"}, roundTheClock},
	}
}
