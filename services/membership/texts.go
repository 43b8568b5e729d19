package membership

import (
	"embed"
	"io/fs"

	"cairn.care/services/chassis/mail"
)

//go:embed texts/*.txt
var textFiles embed.FS

// writtenTexts returns the e-mails that the service writes.
func writtenTexts() (*mail.Texts, error) {
	files, err := fs.Sub(textFiles, "texts")
	if err != nil {
		return nil, err
	}
	return mail.NewTexts(files)
}
