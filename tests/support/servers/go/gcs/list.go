package main

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// The most names that one answer has, and how many it has unless it is told.
const pageSize = 1000

type listing struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	Name                  string
	Prefix                string
	Delimiter             string `xml:",omitempty"`
	KeyCount              int
	IsTruncated           bool
	NextContinuationToken string `xml:",omitempty"`
	Contents              []entry
	CommonPrefixes        []folder
}

type entry struct {
	Key          string
	Generation   int64
	LastModified string
	ETag         string
	Size         int64
}

type folder struct {
	Prefix string
}

// Lists a page of the bucket: names in order, those that go on after a delimiter as one.
// https://cloud.google.com/storage/docs/xml-api/get-bucket-list
func (g *gateway) list(w http.ResponseWriter, bucket string, query url.Values) {
	page := listing{
		Name:      bucket,
		Prefix:    query.Get("prefix"),
		Delimiter: query.Get("delimiter"),
	}
	most := pageSize
	if asked, err := strconv.Atoi(query.Get("max-keys")); err == nil && asked < most {
		most = asked
	}
	startAfter, token := query.Get("start-after"), query.Get("continuation-token")
	objects, _, err := g.storage.ListObjects(bucket, page.Prefix, "", false)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "InternalError")
		return
	}
	// The last name that is on this page or on one before it.
	last := token
	for _, object := range objects {
		name, isFolder := object.Name, false
		if page.Delimiter != "" {
			rest := name[len(page.Prefix):]
			if at := strings.Index(rest, page.Delimiter); at >= 0 {
				name = page.Prefix + rest[:at+len(page.Delimiter)]
				isFolder = true
			}
		}
		if object.Name <= startAfter || name <= last {
			continue
		}
		if page.KeyCount == most {
			page.IsTruncated = true
			page.NextContinuationToken = last
			break
		}
		page.KeyCount++
		last = name
		if isFolder {
			page.CommonPrefixes = append(page.CommonPrefixes, folder{name})
			continue
		}
		page.Contents = append(page.Contents, entry{
			Key:          name,
			Generation:   object.Generation,
			LastModified: object.Updated.UTC().Format("2006-01-02T15:04:05.000Z"),
			ETag:         quoted(object.Etag),
			Size:         object.Size,
		})
	}
	respond(w, http.StatusOK, page)
}
