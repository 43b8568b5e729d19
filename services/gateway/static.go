package gateway

import (
	"embed"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"io/fs"
	"net/http"
	"strconv"

	"cairn.care/gen/openapi"
)

//go:embed docs
var docs embed.FS

// static serves what is the same for everybody: the API's description and its reference page.
func (g *Gateway) static() (*http.ServeMux, error) {
	mux := http.NewServeMux()
	serve := func(pattern, contentType string, body []byte) {
		sum := fnv.New64a()
		if _, err := sum.Write(body); err != nil { // hash.Hash never fails
			return
		}
		tag := quoteETag(hex.EncodeToString(sum.Sum(nil)))
		mux.HandleFunc("GET "+pattern, func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Content-Type", contentType)
			h.Set("ETag", tag)
			h.Set("Cache-Control", "public, max-age=300")
			h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
			h.Set("Referrer-Policy", "no-referrer")
			if matches(r.Header.Values("If-None-Match"), tag) {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			h.Set("Content-Length", strconv.Itoa(len(body)))
			if _, err := w.Write(body); err != nil {
				return // the caller has gone
			}
		})
	}
	serve("/openapi.json", "application/json", []byte(openapi.JSON()))
	for name, page := range map[string]struct{ path, contentType string }{
		"index.html": {"/docs", "text/html; charset=utf-8"},
		"docs.css":   {"/docs/docs.css", "text/css; charset=utf-8"},
		"docs.js":    {"/docs/docs.js", "text/javascript; charset=utf-8"},
	} {
		body, err := fs.ReadFile(docs, "docs/"+name)
		if err != nil {
			return nil, fmt.Errorf("reference page: %w", err)
		}
		serve(page.path, page.contentType, body)
	}
	mux.Handle("GET /docs/{$}", http.RedirectHandler("/docs", http.StatusMovedPermanently))
	mux.Handle("GET /{$}", http.RedirectHandler("/docs", http.StatusFound))
	mux.HandleFunc("/", g.notFound)
	return mux, nil
}
