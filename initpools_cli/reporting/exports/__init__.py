"""Formats of exports, one file each: tables, folders of images, and files of annotation tools."""
