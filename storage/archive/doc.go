// Package archive is the portable backup of a store: written from any database in use, restored into any other that is empty.
package archive
