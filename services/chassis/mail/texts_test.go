package mail

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func TestTextsInTheReadersLanguage(t *testing.T) {
	t.Parallel()
	texts, err := NewTexts(fstest.MapFS{
		"hello.en.txt": {Data: []byte("Tomorrow\n\n{{date .At}} at {{clock .At}} ({{zone .At}})\n")},
		"hello.es.txt": {Data: []byte("Mañana\n\n{{date .At}}, {{clock .At}}\n")},
		"hello.de.txt": {Data: []byte("Morgen\n\n{{date .At}}, {{clock .At}} Uhr\n")},
		"hello.fr.txt": {Data: []byte("Demain\n\n{{date .At}} à {{clock .At}}\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2027, 3, 4, 18, 0, 0, 0, time.UTC).In(berlin)
	for _, tt := range []struct {
		reads             []string
		lang, title, text string
	}{
		{nil, "en", "Tomorrow", "Thursday, March 4, 2027 at 7:00 PM (Europe/Berlin)"},
		{[]string{"es-MX"}, "es", "Mañana", "jueves, 4 de marzo de 2027, 19:00"},
		{[]string{"tr", "de-AT"}, "de", "Morgen", "Donnerstag, 4. März 2027, 19:00 Uhr"},
		{[]string{"fr", "en"}, "fr", "Demain", "jeudi 4 mars 2027 à 19:00"},
		{[]string{"tr", "!"}, "en", "Tomorrow", "Thursday, March 4, 2027 at 7:00 PM (Europe/Berlin)"},
	} {
		lang, title, text, err := texts.Write("hello", tt.reads, map[string]time.Time{"At": at})
		if err != nil || lang != tt.lang || title != tt.title || strings.TrimSpace(text) != tt.text {
			t.Errorf("%v: got %q %q %q, %v, want %q %q %q", tt.reads, lang, title, text, err, tt.lang, tt.title, tt.text)
		}
	}
	if _, _, _, err := texts.Write("hello", nil, map[string]time.Time{}); err == nil {
		t.Error("a text was written without what it needs")
	}
}

func TestTextsLackNothing(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		files map[string]string
		want  string
	}{
		"a language":       {map[string]string{"a.en.txt": "t\n\nx", "a.es.txt": "t\n\nx", "a.de.txt": "t\n\nx"}, "a has no fr"},
		"a title":          {map[string]string{"a.en.txt": "\n\nx"}, "a title"},
		"the empty line":   {map[string]string{"a.en.txt": "t\nx"}, "a title"},
		"the language":     {map[string]string{"a.txt": "t\n\nx"}, "NAME.LANGUAGE.txt"},
		"a known function": {map[string]string{"a.en.txt": "t\n\n{{when .}}"}, "when"},
	} {
		fsys := fstest.MapFS{}
		for file, text := range tt.files {
			fsys[file] = &fstest.MapFile{Data: []byte(text)}
		}
		if _, err := NewTexts(fsys); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("without %s: %v, want an error with %q", name, err, tt.want)
		}
	}
}
