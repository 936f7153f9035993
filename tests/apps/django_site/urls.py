from django.contrib import admin
from django.urls import path
from django_site import views

urlpatterns = [
    path("", views.index),
    path("async", views.index_async),
    path("admin/", admin.site.urls),
    path("upload", views.upload),
    path("guarded", views.guarded),
    path("stream", views.stream),
    path("stream-async", views.stream_async),
    path("open", views.open_it),
    path("file", views.file),
    path("crash", views.crash),
]
