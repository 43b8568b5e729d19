package mail

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"text/template"
	"time"

	"golang.org/x/text/language"
)

// Languages are those that messages are written in; the first is for whoever reads none of them.
var languages = []string{"en", "es", "de", "fr"}

var matcher = language.NewMatcher([]language.Tag{language.English, language.Spanish, language.German, language.French})

// Languages returns the languages that messages are written in. The first is for whoever reads none of them.
func Languages() []string { return append([]string{}, languages...) }

// closest returns the language of ours that suits somebody who reads these best, the preferred one first.
func closest(reads ...string) string {
	var tags []language.Tag
	for _, r := range reads {
		if t, err := language.Parse(r); err == nil {
			tags = append(tags, t)
		}
	}
	_, i, confidence := matcher.Match(tags...)
	if confidence == language.No {
		return languages[0]
	}
	return languages[i]
}

// Texts are a service's messages in every language: files NAME.LANGUAGE.txt, of which the first line is the title, the
// second empty, and the rest the text; both are text/template. Times are to be given in the reader's own zone: {{date .T}}
// writes the day, {{clock .T}} the time, {{zone .T}} where; {{join .List}} writes a list.
type Texts struct{ byName map[string]*template.Template }

// NewTexts reads the texts in a file system and refuses a message that lacks a language.
func NewTexts(fsys fs.FS) (*Texts, error) {
	files, err := fs.Glob(fsys, "*.txt")
	if err != nil {
		return nil, fmt.Errorf("texts: %w", err)
	}
	t := &Texts{byName: map[string]*template.Template{}}
	names := map[string]bool{}
	for _, file := range files {
		raw, err := fs.ReadFile(fsys, file)
		if err != nil {
			return nil, fmt.Errorf("texts: %w", err)
		}
		name := strings.TrimSuffix(path.Base(file), ".txt")
		message, lang, ok := strings.Cut(name, ".")
		title, text, two := strings.Cut(string(raw), "\n\n")
		if !ok || !two || strings.Contains(title, "\n") || strings.TrimSpace(title) == "" || strings.TrimSpace(text) == "" {
			return nil, fmt.Errorf("texts: %s must be called NAME.LANGUAGE.txt and have a title, an empty line and a text", file)
		}
		if t.byName[name], err = template.New(file).Option("missingkey=error").Funcs(functions(lang)).Parse(string(raw)); err != nil {
			return nil, fmt.Errorf("texts: %w", err)
		}
		names[message] = true
	}
	var missing []error
	for name := range names {
		for _, lang := range languages {
			if t.byName[name+"."+lang] == nil {
				missing = append(missing, fmt.Errorf("texts: %s has no %s", name, lang))
			}
		}
	}
	return t, errors.Join(missing...)
}

// Write writes a message for somebody who reads these languages, BCP 47, the preferred one first.
func (t *Texts) Write(name string, reads []string, data any) (lang, title, text string, err error) {
	lang = closest(reads...)
	tmpl := t.byName[name+"."+lang]
	if tmpl == nil {
		return "", "", "", fmt.Errorf("there is no text %s", name)
	}
	var b strings.Builder
	if err := tmpl.Execute(&b, data); err != nil {
		return "", "", "", fmt.Errorf("text %s: %w", name, err)
	}
	title, text, _ = strings.Cut(b.String(), "\n\n")
	return lang, title, text, nil
}

func functions(lang string) template.FuncMap {
	return template.FuncMap{
		"date":  func(t time.Time) string { return Date(lang, t) },
		"clock": func(t time.Time) string { return Clock(lang, t) },
		"zone":  func(t time.Time) string { return t.Location().String() },
		"join":  func(list []string) string { return strings.Join(list, ", ") },
	}
}

// Date writes a day in full, "Thursday, March 4, 2027".
func Date(lang string, t time.Time) string {
	w, ok := words[lang]
	if !ok {
		w = words[languages[0]]
	}
	return strings.NewReplacer("{weekday}", w.weekdays[t.Weekday()], "{day}", t.Format("2"), "{month}", w.months[t.Month()-1], "{year}", t.Format("2006")).Replace(w.date)
}

// Clock writes a time of day, "7:00 PM" or "19:00".
func Clock(lang string, t time.Time) string {
	if lang == "en" {
		return t.Format("3:04 PM")
	}
	return t.Format("15:04")
}

// footers are the words above the link by which a reader stops messages.
var footers = map[string]string{
	"en": "You do not want e-mails of this kind any more? One click stops them:",
	"es": "¿No quieres recibir más correos de este tipo? Un clic basta:",
	"de": "Sie möchten solche E-Mails nicht mehr bekommen? Ein Klick genügt:",
	"fr": "Vous ne souhaitez plus recevoir ce type de messages ? Un clic suffit :",
}

// words are what a date is written with.
var words = map[string]struct {
	date     string
	weekdays [7]string
	months   [12]string
}{
	"en": {
		"{weekday}, {month} {day}, {year}",
		[7]string{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"},
		[12]string{"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"},
	},
	"es": {
		"{weekday}, {day} de {month} de {year}",
		[7]string{"domingo", "lunes", "martes", "miércoles", "jueves", "viernes", "sábado"},
		[12]string{"enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre"},
	},
	"de": {
		"{weekday}, {day}. {month} {year}",
		[7]string{"Sonntag", "Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag"},
		[12]string{"Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November", "Dezember"},
	},
	"fr": {
		"{weekday} {day} {month} {year}",
		[7]string{"dimanche", "lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi"},
		[12]string{"janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"},
	},
}
