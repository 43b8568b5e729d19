package auth_test

import (
	"bytes"
	"strings"
	"testing"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
)

func TestSealIsOpenedForItsPurposeOnly(t *testing.T) {
	t.Parallel()
	keys, others := auth.NewIdentities(clock.System{}), auth.NewIdentities(clock.System{})
	plain := []byte("identifier=https://hospital.test|4711")
	sealed, err := keys.Seal("page", plain)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(sealed, "4711") || strings.ContainsAny(sealed, "+/=&?") {
		t.Errorf("%q tells what is in it, or is not fit for a URL", sealed)
	}
	if got, err := keys.Open("page", sealed); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("Open: %q, %v", got, err)
	}
	changed := []byte(sealed)
	changed[len(changed)/2] ^= 1
	for name, open := range map[string]func() ([]byte, error){
		"another purpose": func() ([]byte, error) { return keys.Open("other", sealed) },
		"other keys":      func() ([]byte, error) { return others.Open("page", sealed) },
		"a changed text":  func() ([]byte, error) { return keys.Open("page", string(changed)) },
		"no text":         func() ([]byte, error) { return keys.Open("page", "") },
		"no base64":       func() ([]byte, error) { return keys.Open("page", "???") },
	} {
		if got, err := open(); err == nil {
			t.Errorf("%s opens it: %q", name, got)
		}
	}
}
