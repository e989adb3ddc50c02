// A Cloud Storage on loopback, for tests.
//
// fake-gcs-server keeps the objects, speaks the JSON API (buckets are made by it), and of the
// XML API reads and deletes objects. What it lacks of the XML API is here: writing and copying
// with preconditions, conditional reads, and listing page by page.
// https://cloud.google.com/storage/docs/xml-api/reference-headers
package main

import (
	"encoding/xml"
	"flag"
	"io"
	"log"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

type gateway struct {
	storage *fakestorage.Server
	// Held from looking at a precondition until its write is done.
	writing sync.Mutex
}

func main() {
	listen := flag.String("listen", "127.0.0.1:4443", "address to listen on")
	flag.Parse()
	host, _, _ := strings.Cut(*listen, ":")
	storage, err := fakestorage.NewServerWithOptions(fakestorage.Options{
		NoListener: true,
		// The host that its XML API answers at.
		PublicHost: host,
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe(*listen, &gateway{storage: storage}))
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	log.Println(r.Method, r.URL)
	for _, own := range []string{"/storage/v1/", "/_internal/"} {
		if strings.HasPrefix(r.URL.Path, own) {
			g.storage.HTTPHandler().ServeHTTP(w, r)
			return
		}
	}
	bucket, object, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if _, err := g.storage.Backend().GetBucket(bucket); err != nil {
		refuse(w, http.StatusNotFound, "NoSuchBucket")
		return
	}
	switch {
	case r.Method == http.MethodGet && object == "":
		g.list(w, bucket, r.URL.Query())
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		g.read(w, r, bucket, object)
	case r.Method == http.MethodPut:
		g.write(w, r, bucket, object)
	case r.Method == http.MethodDelete:
		g.writing.Lock()
		defer g.writing.Unlock()
		if g.mayWrite(w, r, bucket, object) {
			g.storage.HTTPHandler().ServeHTTP(w, r)
		}
	default:
		refuse(w, http.StatusNotImplemented, "NotImplemented")
	}
}

// Whether the object's generation is the one that the request wants to replace, where 0 stands
// for no object; refuses the request if not.
func (g *gateway) mayWrite(w http.ResponseWriter, r *http.Request, bucket, object string) bool {
	wanted := r.Header.Get("x-goog-if-generation-match")
	if wanted == "" {
		return true
	}
	generation, err := strconv.ParseInt(wanted, 10, 64)
	if err != nil {
		refuse(w, http.StatusBadRequest, "InvalidArgument")
		return false
	}
	// An object that is not there has the generation 0.
	if current, _ := g.storage.GetObject(bucket, object); current.Generation != generation {
		refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return false
	}
	return true
}

// Writes the request's body, or a copy of the object that it names.
func (g *gateway) write(w http.ResponseWriter, r *http.Request, bucket, object string) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		refuse(w, http.StatusBadRequest, "IncompleteBody")
		return
	}
	g.writing.Lock()
	defer g.writing.Unlock()
	if !g.mayWrite(w, r, bucket, object) {
		return
	}
	written := fakestorage.Object{Content: body}
	if source := r.Header.Get("x-goog-copy-source"); source != "" {
		path, _ := url.PathUnescape(source)
		from, name, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		if written, err = g.storage.GetObject(from, name); err != nil {
			refuse(w, http.StatusNotFound, "NoSuchKey")
			return
		}
		written.ObjectAttrs = fakestorage.ObjectAttrs{
			ContentType:     written.ContentType,
			ContentEncoding: written.ContentEncoding,
			CacheControl:    written.CacheControl,
			Metadata:        written.Metadata,
		}
	} else {
		written.ContentType = r.Header.Get("Content-Type")
		written.ContentEncoding = r.Header.Get("Content-Encoding")
		written.CacheControl = r.Header.Get("Cache-Control")
		written.Metadata = metadata(r.Header)
	}
	written.BucketName, written.Name = bucket, object
	if err := g.storage.CreateObjectStreaming(written.StreamingObject()); err != nil {
		refuse(w, http.StatusInternalServerError, "InternalError")
		return
	}
	created, _ := g.storage.GetObject(bucket, object)
	w.Header().Set("ETag", quoted(created.Etag))
	w.Header().Set("x-goog-generation", strconv.FormatInt(created.Generation, 10))
}

// Reads the object if it is the one that the request's conditions are about (RFC 9110, 13.2.2).
func (g *gateway) read(w http.ResponseWriter, r *http.Request, bucket, object string) {
	found, err := g.storage.GetObject(bucket, object)
	names := func(header string) bool {
		tags := r.Header.Get(header)
		return tags == "*" || strings.Contains(tags, quoted(found.Etag))
	}
	switch {
	case err != nil:
		refuse(w, http.StatusNotFound, "NoSuchKey")
	case r.Header.Get("If-Match") != "" && !names("If-Match"):
		refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
	case r.Header.Get("If-None-Match") != "" && names("If-None-Match"):
		w.Header().Set("ETag", quoted(found.Etag))
		w.WriteHeader(http.StatusNotModified)
	default:
		g.storage.HTTPHandler().ServeHTTP(w, r)
	}
}

// The caller's own metadata, by name.
func metadata(headers http.Header) map[string]string {
	found := make(map[string]string)
	for header := range headers {
		if name, is := strings.CutPrefix(strings.ToLower(header), "x-goog-meta-"); is {
			found[name] = headers.Get(header)
		}
	}
	return found
}

func refuse(w http.ResponseWriter, status int, code string) {
	answer := struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}{Code: code, Message: http.StatusText(status)}
	respond(w, status, answer)
}

func respond(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/xml; charset=UTF-8")
	w.WriteHeader(status)
	// Nobody is left to tell if the client has gone.
	_, _ = io.WriteString(w, xml.Header)
	_ = xml.NewEncoder(w).Encode(answer)
}

func quoted(etag string) string {
	return `"` + etag + `"`
}
